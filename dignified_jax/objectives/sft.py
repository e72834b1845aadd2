"""Supervised fine-tuning on the golden responses: mean token negative log-likelihood."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class SFT:
    """Token NLL of golden responses, in nats per token; rejects are not seen.

    The per-dimension losses are the NLL over the examples whose mask holds the dimension; an
    example counts in each of its dimensions, so they do not add up to the loss.
    """

    name = "sft"
    needs_reference = False

    def init(self, dimensions: int) -> tuple[()]:
        del dimensions
        return ()

    def normalizer(
        self, response_mask: jax.Array, response_length: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(golden tokens of the batch, golden tokens of each dimension (K,))."""
        golden = jnp.where(response_mask[:, 0], response_length[:, 0], 0).astype(jnp.float32)
        return golden.sum(), (golden[:, None] * response_mask[:, 1:]).sum(axis=0)

    def loss(
        self,
        scores: jax.Array,
        response_mask: jax.Array,
        normalizer: tuple[jax.Array, jax.Array],
        state: tuple[()],
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-probs."""
        tokens, dimension_tokens = normalizer
        nll = -jnp.where(response_mask[:, 0], scores[:, 0], 0.0)
        losses = (nll[:, None] * response_mask[:, 1:]).sum(axis=0)
        return nll.sum() / jnp.maximum(tokens, 1.0), losses / jnp.maximum(dimension_tokens, 1.0)

    def update(self, state: tuple[()], losses: jax.Array, present: jax.Array) -> tuple[()]:
        del losses, present
        return state

    def metrics(self, state: tuple[()]) -> dict[str, jax.Array]:
        del state
        return {}
