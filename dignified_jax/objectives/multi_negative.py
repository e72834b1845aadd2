"""Multi-negative DPO: the plain average of the per-dimension losses."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.objectives import dpo


@dataclasses.dataclass(frozen=True)
class MultiNegativeDPO:
    """DPO against every reject of a prompt.

    Attributes:
      beta: inverse temperature of the implicit reward.
      average: "dimension" is (1/K) sum_k L_k, in which an absent dimension adds 0; "pair" is the
        mean over all pairs of the batch.
    """

    beta: float = 0.1
    average: Literal["dimension", "pair"] = "dimension"

    name = "multi_negative"
    needs_reference = True

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"method.beta must be positive, found {self.beta}")

    def init(self, dimensions: int) -> tuple[()]:
        del dimensions
        return ()

    def normalizer(self, response_mask: jax.Array, response_length: jax.Array) -> jax.Array:
        del response_length
        return dpo.pair_counts(response_mask)

    def loss(
        self, scores: jax.Array, response_mask: jax.Array, normalizer: jax.Array, state: tuple[()]
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-ratios."""
        losses = dpo.dimension_losses(scores, response_mask, normalizer, self.beta)
        if self.average == "pair":
            weights = normalizer / jnp.maximum(normalizer.sum(), 1.0)
        else:
            weights = jnp.ones_like(losses) / losses.size
        return jnp.sum(weights * losses), losses

    def update(self, state: tuple[()], losses: jax.Array, present: jax.Array) -> tuple[()]:
        del losses, present
        return state

    def metrics(self, state: tuple[()]) -> dict[str, jax.Array]:
        del state
        return {}
