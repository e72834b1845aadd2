"""Ascent on violations in units of their own size, at a rate of the whole run.

Plain ascent moves lambda by rate x steps x (mean violation): by hundredths of a nat on one problem
and by several on another, for a DPO loss has no upper bound. With T steps and v the mean, over the
batches so far and the dimensions, of the squared violations,

    lambda_k <- lambda_k + (r / T) e_k / sqrt(v)

is the same path whatever the number of steps, as `paced`, and whatever the unit of the losses. A
batch is part of the v that it is divided by. So after n batches |e_k| / sqrt(v) is at most
sqrt(n K), and one batch with a loss of many nats moves lambda by at most r sqrt(K / T). A violation
that stays, the same in all dimensions but for its sign, moves lambda by r in the run.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from dignified_jax.objectives.duals.controllers import CONTROLLERS, Controller
from dignified_jax.typed_config import Count, NonNegative, check_bounds

LEAST = 1e-4
"""Violations of this size, in nats, count as none: rounding alone makes such in the first step."""


class Squares(struct.PyTreeNode):
    """Both (K,): the sum of the squared violations so far, and of how many batches."""

    total: jax.Array
    count: jax.Array


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class Normalized(Controller):
    """Ascent on violations divided by their root mean square so far.

    Attributes:
      rate: multiplier that a typical violation makes which stays throughout the run.
    """

    rate: NonNegative = 4.0

    name = "normalized"
    needs_finite_epsilon = True

    def __post_init__(self) -> None:
        check_bounds(self, "method.controller.")

    def for_steps(self, steps: int) -> Controller:
        return _PerStep(self.rate, steps)

    def init(self, dimensions: int) -> Squares:
        zeros = jnp.zeros(dimensions, jnp.float32)
        return Squares(total=zeros, count=zeros)

    def step(
        self, state: Squares, multipliers: jax.Array, error: jax.Array
    ) -> tuple[Squares, jax.Array]:
        raise ValueError(
            f"method.controller.name={self.name!r} needs the steps of the run: ask for_steps(steps)"
        )


@dataclasses.dataclass(frozen=True)
class _PerStep(Normalized):
    """The rule of a run of `steps`; a dimension that a batch lacks keeps its squares."""

    steps: Count = 1

    def for_steps(self, steps: int) -> Controller:
        return self

    def step(
        self, state: Squares, multipliers: jax.Array, error: jax.Array
    ) -> tuple[Squares, jax.Array]:
        state = Squares(total=state.total + error**2, count=state.count + 1.0)
        # Here, absent dimensions are counted as well; their old squares are what is kept of them.
        mean = jnp.mean(state.total / state.count)
        size = jnp.sqrt(mean + LEAST**2)
        return state, multipliers + (self.rate / self.steps) * error / size
