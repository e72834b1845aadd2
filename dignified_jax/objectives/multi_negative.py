"""Multi-negative DPO: the weighted average of the per-dimension losses."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.objectives import dpo
from dignified_jax.objectives.checks import entries, positive, relative_weights


@dataclasses.dataclass(frozen=True)
class MultiNegativeDPO:
    """DPO against every reject of a prompt.

    Attributes:
      beta: inverse temperature of the implicit reward.
      average: "dimension" is sum_k w_k L_k / sum_k w_k, in which an absent dimension adds 0;
        "pair" is the mean over all pairs of the batch, each weighing w_k.
      weights: relative weights w_k, one entry for all dimensions or one for each (A, T, E, C).
        (1, 0, 0, 0) is DPO on the first dimension alone.
    """

    beta: float = 0.1
    average: Literal["dimension", "pair"] = "dimension"
    weights: tuple[float, ...] = (1.0,)

    name = "multi_negative"
    needs_reference = True
    needs_rewards = False
    combines_gradients = False

    def __post_init__(self) -> None:
        positive(self, "beta")
        relative_weights(self.weights)

    def init(self, dimensions: int) -> tuple[()]:
        """Raises ValueError when weights has neither 1 nor K entries."""
        entries("weights", self.weights, dimensions)
        return ()

    def normalizer(self, response_mask: jax.Array, response_length: jax.Array) -> jax.Array:
        del response_length
        return dpo.pair_counts(response_mask)

    def loss(
        self,
        scores: jax.Array,
        response_mask: jax.Array,
        normalizer: jax.Array,
        state: tuple[()],
        rewards: None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-ratios."""
        del rewards
        losses = dpo.dimension_losses(scores, response_mask, normalizer, self.beta)
        weights = jnp.asarray(entries("weights", self.weights, losses.size), jnp.float32)
        if self.average == "pair":
            weights *= normalizer
        total = weights.sum()
        weights /= jnp.where(total > 0, total, 1.0)
        return jnp.sum(weights * losses), losses

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
