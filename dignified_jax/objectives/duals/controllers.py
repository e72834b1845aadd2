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
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from dignified_jax.registry import Registry
from dignified_jax.typed_config import Bounds, NonNegative, check_bounds


class Controller:
    """Hyperparameters of one rule; its state's leaves are (K,) float32.

    Attributes:
      name: in the configuration.
      needs_memory: its weights come from the batches before, so that the signal must remember.
      needs_finite_epsilon: it can't do with a violation of minus infinity.
    """

    name: ClassVar[str]
    needs_memory: ClassVar[bool] = False
    needs_finite_epsilon: ClassVar[bool] = False

    def for_steps(self, steps: int) -> Controller:
        """Returns the rule per step of a run of so many optimiser steps; itself by default."""
        del steps
        return self

    def init(self, dimensions: int) -> PyTree:
        """Returns the state before the first batch; none by default."""
        del dimensions
        return ()

    def step(
        self,
        state: PyTree,
        multipliers: Float[Array, " dimension"],
        error: Float[Array, " dimension"],
    ) -> tuple[PyTree, Float[Array, " dimension"]]:
        """Returns the state and the multipliers before projection, after violations `error`."""
        raise NotImplementedError

    def weights(
        self,
        multipliers: Float[Array, " dimension"],
        error: Float[Array, " dimension"],
        cap: float,
    ) -> Float[Array, " dimension"]:
        """Returns the constraints' weights in the primal loss, in [0, cap]; the multipliers.

        `error` is that of the batches before, 0 where there is none.
        """
        del error, cap
        return multipliers


CONTROLLERS: Registry[Controller] = Registry("controller", Controller)
"""All by name."""


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class Ascent(Controller):
    """Plain gradient ascent.

    Attributes:
      rate: of the ascent.
    """

    rate: NonNegative = 1.0

    name = "ascent"

    def __post_init__(self) -> None:
        check_bounds(self, "method.controller.")

    def step(
        self, state: tuple[()], multipliers: jax.Array, error: jax.Array
    ) -> tuple[tuple[()], jax.Array]:
        # A rate of 0 is kept apart: 0 x (loss - inf) would be NaN for an unlimited tolerance.
        return state, multipliers + self.rate * error if self.rate else multipliers


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class NuPI(Controller):
    """Proportional-integral control of a smoothed violation; the state is xi.

    Attributes:
      rate: of the whole change.
      proportional, integral: K_P and K_I, not both 0.
      smoothing: nu, the decay of xi.
    """

    rate: NonNegative = 1.0
    proportional: NonNegative = 1.0
    integral: NonNegative = 1.0
    smoothing: Annotated[float, Bounds("[0, 1)")] = 0.9

    name = "nupi"
    needs_finite_epsilon = True

    def __post_init__(self) -> None:
        check_bounds(self, "method.controller.")
        if self.proportional == self.integral == 0:
            raise ValueError(
                "method.controller.proportional and method.controller.integral are both 0"
            )

    def init(self, dimensions: int) -> jax.Array:
        return jnp.zeros(dimensions, jnp.float32)

    def step(
        self, state: jax.Array, multipliers: jax.Array, error: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        smoothed = self.smoothing * state + (1.0 - self.smoothing) * error
        change = self.integral * error + self.proportional * (smoothed - state)
        return smoothed, multipliers + self.rate * change


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class Augmented(Controller):
    """Augmented Lagrangian, whose weights answer to a violation before lambda has moved.

    Attributes:
      penalty: coefficient c.
    """

    penalty: Annotated[float, Bounds("(0, inf)")] = 1.0

    name = "augmented"
    needs_memory = True

    def __post_init__(self) -> None:
        check_bounds(self, "method.controller.")

    def step(
        self, state: tuple[()], multipliers: jax.Array, error: jax.Array
    ) -> tuple[tuple[()], jax.Array]:
        return state, multipliers + self.penalty * error

    def weights(self, multipliers: jax.Array, error: jax.Array, cap: float) -> jax.Array:
        return jnp.clip(multipliers + self.penalty * error, 0.0, cap)
