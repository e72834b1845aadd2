"""Supervised fine-tuning on responses: mean token negative log-likelihood."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class SFT:
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
    needs_rewards = False
    combines_gradients = False

    def init(self, dimensions: int) -> tuple[()]:
        del dimensions
        return ()

    def normalizer(
        self, response_mask: jax.Array, response_length: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(trained tokens of the batch, golden tokens of each dimension (K,))."""
        tokens = jnp.where(response_mask, response_length, 0).astype(jnp.float32)
        golden = tokens[:, 0]
        trained = tokens if self.responses == "all" else golden
        return trained.sum(), (golden[:, None] * response_mask[:, 1:]).sum(axis=0)

    def loss(
        self,
        scores: jax.Array,
        response_mask: jax.Array,
        normalizer: tuple[jax.Array, jax.Array],
        state: tuple[()],
        rewards: None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-probs."""
        del rewards
        tokens, dimension_tokens = normalizer
        nll = -jnp.where(response_mask, scores, 0.0)
        golden = nll[:, 0]
        trained = nll if self.responses == "all" else golden
        losses = (golden[:, None] * response_mask[:, 1:]).sum(axis=0)
        return trained.sum() / jnp.maximum(tokens, 1.0), losses / jnp.maximum(dimension_tokens, 1.0)

    def update(
        self,
        state: tuple[()],
        losses: jax.Array,
        present: jax.Array,
        scores: jax.Array | None = None,
        response_mask: jax.Array | None = None,
    ) -> tuple[()]:
        del losses, present, scores, response_mask
        return state

    def metrics(self, state: tuple[()]) -> dict[str, jax.Array]:
        del state
        return {}
