"""MODPO: DPO on one dimension with the other dimensions' rewards as a margin.

    R_k(y) = (beta s(y) - sum_(j != k) w_j r_j(y)) / w_k
    loss_ik = -log sigmoid(R_k(y_golden) - R_k(y_k))

with r_j = beta_j (log pi_j - log pi_ref) the implicit reward of a policy pi_j trained by DPO on
dimension j alone, frozen. The terms of all dimensions with w_k > 0 are averaged. Zhou et al.,
"Beyond One-Preference-Fits-All Alignment: Multi-Objective DPO" (2024).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.objectives import dpo
from dignified_jax.objectives.checks import entries, positive, relative_weights


@dataclasses.dataclass(frozen=True)
class MODPO:
    """Hyperparameters.

    Attributes:
      beta: inverse temperature of the implicit reward.
      weights: relative weights of the dimensions, one entry for all or one for each (A, T, E, C);
        w is they divided by their sum. A dimension of weight 0 is left out; with one positive
        weight this is DPO on that dimension.
    """

    beta: float = 0.1
    weights: tuple[float, ...] = (1.0,)

    name = "modpo"
    needs_reference = True
    needs_rewards = True
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
        rewards: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-ratios.

        Args:
          rewards: (example, 1 + K, K) float32; [i, y, j] is r_j of response y.

        Returns:
          (scalar, (K,) losses); the loss of a dimension of weight 0 is 0.

        Raises:
          TypeError: `rewards` is missing.
        """
        if rewards is None:
            raise TypeError("MODPO.loss needs rewards, (example, 1 + K, K)")
        mask = dpo.pair_mask(response_mask)
        weights = np.asarray(entries("weights", self.weights, mask.shape[1]), np.float64)
        weights /= weights.sum()
        kept = weights > 0
        # [i, k, j]: r_j(golden) - r_j(reject of k); zeroed where there is no pair.
        gains = jnp.where(mask[:, :, None], rewards[:, :1] - rewards[:, 1:], 0.0)
        others = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)
        offsets = (gains * jnp.asarray(others, gains.dtype)).sum(axis=2)
        margins = (dpo.margins(scores, self.beta) - offsets) / np.where(kept, weights, 1.0)
        pairs = dpo.margin_losses(margins, mask & kept)
        losses = pairs.sum(axis=0) / jnp.maximum(normalizer, 1.0)
        return losses.sum() / kept.sum(), losses

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
