"""Dual controllers: how a multiplier answers to its constraint's violation e = signal - epsilon.

    ascent       lambda <- lambda + rate e
    nuPI         xi_t = nu xi_(t-1) + (1 - nu) e_t, with xi_(-1) = 0
                 lambda <- lambda + rate (K_I e_t + K_P (xi_t - xi_(t-1)))
    augmented    lambda <- lambda + c e, and the primal weight is [lambda + c e]_+ instead of lambda

each projected afterwards on [0, cap] by `duals`. nuPI: Sohrabi et al., "On PI controllers for
updating Lagrange multipliers in constrained optimization" (2024). Augmented Lagrangian: the
gradient of (1/2c)([lambda + c g]_+^2 - lambda^2); the e of its weights comes from the batches
before, so that they do not depend on the batch that they weigh.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp


class Controller(Protocol):
    """Hyperparameters of one rule; its state's leaves are (K,) float32."""

    def init(self, dimensions: int) -> Any:
        """The state before the first batch."""
        ...

    def step(self, state: Any, multipliers: jax.Array, error: jax.Array) -> tuple[Any, jax.Array]:
        """(state, (K,) multipliers before projection) after violations `error` (K,)."""
        ...

    def weights(self, multipliers: jax.Array, error: jax.Array, cap: float) -> jax.Array:
        """(K,) weights of the constraints in the primal loss, in [0, cap] as the multipliers are.

        `error` is that of the batches before, 0 where there is none.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Ascent:
    """Plain gradient ascent."""

    rate: float

    def init(self, dimensions: int) -> tuple[()]:
        del dimensions
        return ()

    def step(
        self, state: tuple[()], multipliers: jax.Array, error: jax.Array
    ) -> tuple[tuple[()], jax.Array]:
        # A rate of 0 is kept apart: 0 x (loss - inf) would be NaN for an unlimited tolerance.
        return state, multipliers + self.rate * error if self.rate else multipliers

    def weights(self, multipliers: jax.Array, error: jax.Array, cap: float) -> jax.Array:
        del error, cap
        return multipliers


@dataclasses.dataclass(frozen=True)
class NuPI:
    """Proportional-integral control of a smoothed violation; the state is xi."""

    rate: float
    proportional: float
    integral: float
    smoothing: float

    def init(self, dimensions: int) -> jax.Array:
        return jnp.zeros(dimensions, jnp.float32)

    def step(
        self, state: jax.Array, multipliers: jax.Array, error: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        smoothed = self.smoothing * state + (1.0 - self.smoothing) * error
        change = self.integral * error + self.proportional * (smoothed - state)
        return smoothed, multipliers + self.rate * change

    def weights(self, multipliers: jax.Array, error: jax.Array, cap: float) -> jax.Array:
        del error, cap
        return multipliers


@dataclasses.dataclass(frozen=True)
class Augmented:
    """Augmented Lagrangian with penalty coefficient c."""

    penalty: float

    def init(self, dimensions: int) -> tuple[()]:
        del dimensions
        return ()

    def step(
        self, state: tuple[()], multipliers: jax.Array, error: jax.Array
    ) -> tuple[tuple[()], jax.Array]:
        return state, multipliers + self.penalty * error

    def weights(self, multipliers: jax.Array, error: jax.Array, cap: float) -> jax.Array:
        return jnp.clip(multipliers + self.penalty * error, 0.0, cap)
