"""Supervised fine-tuning on responses: mean token negative log-likelihood."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dignified_jax.objectives.base import GOLDEN, Objective, ScoredBatch, register

Counts = tuple[Float[Array, ""], Float[Array, " dimension"]]


@register
@dataclasses.dataclass(frozen=True)
class SFT(Objective):
    """Token NLL, in nats per token.

    The per-dimension losses are the NLL of golden over the examples whose mask holds the
    dimension; an example counts in each of its dimensions, so they do not add up to the loss.

    Attributes:
      responses: "golden" trains on golden alone and sees no reject; "all" on every response alike,
        which makes a base model that knows the texts and prefers none of them.
    """

    responses: Literal["golden", "all"] = "golden"

    name = "sft"
    needs_reference = False

    def batch_counts(
        self, mask: Bool[Array, "example response"], lengths: Int[Array, "example response"]
    ) -> Counts:
        """Returns the trained tokens of the batch, and the golden tokens of each dimension."""
        tokens = jnp.where(mask, lengths, 0).astype(jnp.float32)
        golden = tokens[:, 0]
        trained = tokens if self.responses == "all" else golden
        return trained.sum(), (golden[:, None] * mask[:, 1:]).sum(axis=0)

    def loss(
        self, batch: ScoredBatch, counts: Counts, state: tuple[()]
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`; without a reference the log-ratios are log-probs."""
        tokens, dimension_tokens = counts
        nll = -jnp.where(batch.mask, batch.log_ratios, 0.0)
        golden = nll[:, 0]
        trained = nll if self.responses == "all" else golden
        losses = (golden[:, None] * batch.mask[:, 1:]).sum(axis=0)
        return trained.sum() / jnp.maximum(tokens, 1.0), losses / jnp.maximum(dimension_tokens, 1.0)

    def trained_responses(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        """Returns golden, or all."""
        return (GOLDEN,) if self.responses == "golden" else (GOLDEN, *dimensions)
