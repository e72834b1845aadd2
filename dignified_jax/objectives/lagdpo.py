"""Lag-DPO: every dimension's DPO loss is a constraint with its own Lagrange multiplier.

    minimise (1/K) sum_k (1 + lambda_k) L_k        over the policy, lambda held constant
    lambda_k <- clip(lambda_k + rate (L_k - epsilon_k), 0, lambda_max)

Equations 4 to 6 of "Dual Optimal: Make Your LLM Peer-like with Dignity". The constant
-sum_k lambda_k epsilon_k / K has no gradient and is left out of the optimised loss. While all
lambda are 0 this is multi-negative DPO averaged by dimension, to the bit.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.objectives import dpo, duals


@dataclasses.dataclass(frozen=True)
class LagDPO:
    """Hyperparameters; tuples have one entry for all dimensions or one for each (A, T, E, C).

    The published dual rate, "an order of magnitude below the primal rate", would leave lambda at
    zero with the learning rates of DPO (a few 1e-7); the default here moves lambda within an epoch.

    Attributes:
      beta: inverse temperature of the implicit reward.
      epsilon: tolerance of each dimension's loss, in nats; log 2 = 0.693 is an untrained policy's.
      dual_learning_rate: rate of the dual ascent.
      lambda_init: multipliers before the first step.
      lambda_max: upper bound of every multiplier.
      dual_signal: what the ascent compares with epsilon: the "batch" loss or its "ema".
      ema_decay: decay of that average, per optimiser step that has the dimension; None means
        0.9. Only with dual_signal "ema".
    """

    beta: float = 0.1
    epsilon: tuple[float, ...] = (0.5,)
    dual_learning_rate: float = 0.1
    lambda_init: tuple[float, ...] = (0.0,)
    lambda_max: float = 10.0
    dual_signal: Literal["batch", "ema"] = "batch"
    ema_decay: float | None = None

    name = "lagdpo"
    needs_reference = True

    def __post_init__(self) -> None:
        for field in ("beta", "lambda_max"):
            if not getattr(self, field) > 0:
                raise ValueError(f"method.{field} must be positive, found {getattr(self, field)}")
        if not self.dual_learning_rate >= 0:
            raise ValueError(
                f"method.dual_learning_rate must be at least 0, found {self.dual_learning_rate}"
            )
        for field in ("epsilon", "lambda_init"):
            values = getattr(self, field)
            if not values or not all(value >= 0 for value in values):
                raise ValueError(f"method.{field} needs entries of at least 0, found {values}")
        if not max(self.lambda_init) <= self.lambda_max:
            raise ValueError(
                f"method.lambda_init {self.lambda_init} exceeds method.lambda_max {self.lambda_max}"
            )
        if self.ema_decay is not None and self.dual_signal != "ema":
            raise ValueError(
                f"method.ema_decay={self.ema_decay} contradicts method.dual_signal="
                f"{self.dual_signal!r}: only 'ema' has a decay"
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"method.ema_decay must be in [0, 1), found {self.ema_decay}")

    @property
    def decay(self) -> float:
        """Decay of the dual signal's moving average; 0 for the batch signal."""
        if self.dual_signal == "batch":
            return 0.0
        return 0.9 if self.ema_decay is None else self.ema_decay

    def tolerances(self, dimensions: int) -> jax.Array:
        """(K,) epsilon."""
        return _per_dimension("epsilon", self.epsilon, dimensions)

    def init(self, dimensions: int) -> duals.DualState:
        """Raises ValueError when epsilon or lambda_init has neither 1 nor K entries."""
        self.tolerances(dimensions)
        return duals.init(_per_dimension("lambda_init", self.lambda_init, dimensions))

    def normalizer(self, response_mask: jax.Array, response_length: jax.Array) -> jax.Array:
        del response_length
        return dpo.pair_counts(response_mask)

    def loss(
        self,
        scores: jax.Array,
        response_mask: jax.Array,
        normalizer: jax.Array,
        state: duals.DualState,
    ) -> tuple[jax.Array, jax.Array]:
        """See `objectives.Method.loss`; the scores are log-ratios."""
        losses = dpo.dimension_losses(scores, response_mask, normalizer, self.beta)
        weights = (1.0 + jax.lax.stop_gradient(state.multipliers)) / losses.size
        return jnp.sum(weights * losses), losses

    def update(
        self, state: duals.DualState, losses: jax.Array, present: jax.Array
    ) -> duals.DualState:
        return duals.update(
            state,
            losses,
            present,
            epsilon=self.tolerances(losses.size),
            rate=self.dual_learning_rate,
            cap=self.lambda_max,
            decay=self.decay,
        )

    def metrics(self, state: duals.DualState) -> dict[str, jax.Array]:
        return {"lambda": state.multipliers}


def _per_dimension(field: str, values: tuple[float, ...], dimensions: int) -> jax.Array:
    if len(values) not in (1, dimensions):
        raise ValueError(f"method.{field} needs 1 or {dimensions} entries, found {values}")
    return jnp.broadcast_to(jnp.asarray(values, jnp.float32), (dimensions,))
