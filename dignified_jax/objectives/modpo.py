"""MODPO: DPO on one dimension with the other dimensions' rewards as a margin.

    R_k(y) = (beta s(y) - sum_(j != k) w_j r_j(y)) / w_k
    loss_ik = -log sigmoid(R_k(y_golden) - R_k(y_k))

with r_j = beta_j (log pi_j - log pi_ref) the implicit reward of a policy pi_j trained by DPO on
dimension j alone, frozen. The terms of all dimensions with w_k > 0 are averaged. Zhou et al.,
"Beyond One-Preference-Fits-All Alignment: Multi-Objective DPO" (2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dignified_jax.objectives import dpo
from dignified_jax.objectives.base import (
    Objective,
    ScoredBatch,
    Stage,
    register,
    weighted_responses,
)
from dignified_jax.objectives.checks import entries, relative_weights
from dignified_jax.objectives.multi_stage import single_stages
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import NonNegative, Positive


@register
@dataclasses.dataclass(frozen=True)
class MODPO(Terms, Objective):
    """DPO on one dimension with the other dimensions' rewards as a margin.

    The policies that give the rewards are trained with `label_smoothing` too, and without
    `golden_nll`, which would shift what their log-ratios stand for.

    Attributes:
      beta: inverse temperature of the implicit reward.
      weights: relative weights of the dimensions, one entry for all or one for each (A, T, E, C);
        w is they divided by their sum. A dimension of weight 0 is left out; with one positive
        weight this is DPO on that dimension.
    """

    beta: Positive = 0.1
    weights: tuple[NonNegative, ...] = (1.0,)

    name = "modpo"
    needs_rewards = True

    def __post_init__(self) -> None:
        super().__post_init__()
        relative_weights(self.weights)
        if self.length_normalized:
            raise ValueError(
                "method.length_normalized contradicts method.name='modpo': its margins have the "
                "other policies' rewards in them, which are of whole replies"
            )

    def init(self, dimensions: int) -> tuple[()]:
        """Raises ValueError when weights has neither 1 nor K entries."""
        entries("weights", self.weights, dimensions)
        return ()

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: tuple[()]
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`; the loss of a dimension of weight 0 is 0.

        Raises:
          TypeError: the batch has no rewards.
        """
        rewards = batch.rewards
        if rewards is None:
            raise TypeError("MODPO.loss needs rewards, (example, 1 + K, K)")
        mask = dpo.pair_mask(batch.mask)
        weights = np.asarray(entries("weights", self.weights, mask.shape[1]), np.float64)
        weights /= weights.sum()
        kept = weights > 0
        # [i, k, j]: r_j(golden) - r_j(reject of k); zeroed where there is no pair.
        gains = jnp.where(mask[:, :, None], rewards[:, :1] - rewards[:, 1:], 0.0)
        others = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
        offsets = (gains * jnp.asarray(others, gains.dtype)).sum(axis=2)
        margins = (self.margins(batch) - offsets) / np.where(kept, weights, 1.0)
        pairs = self.margin_losses(margins, mask & kept)
        losses = pairs.sum(axis=0) / jnp.maximum(counts, 1.0)
        return losses.sum() / kept.sum(), losses

    def trained_responses(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        """Returns golden and the dimensions of positive weight."""
        return weighted_responses(self.weights, dimensions)

    def stages(self, dimensions: Sequence[str]) -> tuple[Stage, ...]:
        """Returns DPO on each dimension of positive weight, whose policies give the rewards."""
        weights = entries("weights", self.weights, len(dimensions))
        return single_stages(
            weights,
            dimensions,
            beta=self.beta,
            label_smoothing=self.label_smoothing,
            robust=self.robust,
        )
