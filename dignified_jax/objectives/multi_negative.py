"""Multi-negative DPO: the weighted average of the per-dimension losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from dignified_jax.objectives.base import (
    Objective,
    ScoredBatch,
    register,
    weighted_responses,
)
from dignified_jax.objectives.checks import entries, relative_weights
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import NonNegative, Positive


@register
@dataclasses.dataclass(frozen=True)
class MultiNegativeDPO(Terms, Objective):
    """DPO against every reject of a prompt.

    Attributes:
      beta: inverse temperature of the implicit reward.
      average: "dimension" is sum_k w_k L_k / sum_k w_k, in which an absent dimension adds 0;
        "pair" is the mean over all pairs of the batch, each weighing w_k.
      weights: relative weights w_k, one entry for all dimensions or one for each (A, T, E, C).
        (1, 0, 0, 0) is DPO on the first dimension alone.
    """

    beta: Positive = 0.1
    average: Literal["dimension", "pair"] = "dimension"
    weights: tuple[NonNegative, ...] = (1.0,)

    name = "multi_negative"

    def __post_init__(self) -> None:
        super().__post_init__()
        relative_weights(self.weights)

    def init(self, dimensions: int) -> tuple[()]:
        """Raises ValueError when weights has neither 1 nor K entries."""
        entries("weights", self.weights, dimensions)
        return ()

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: tuple[()]
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`."""
        losses = self.dimension_losses(batch, counts)
        weights = jnp.asarray(entries("weights", self.weights, losses.size), jnp.float32)
        if self.average == "pair":
            weights *= counts
        total = weights.sum()
        weights /= jnp.where(total > 0, total, 1.0)
        return jnp.sum(weights * losses), losses

    def trained_responses(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        """Returns golden and the dimensions of positive weight."""
        return weighted_responses(self.weights, dimensions)
