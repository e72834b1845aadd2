"""Rules of the multipliers in units of the run, which need no setting for its number of steps.

Plain ascent moves lambda by rate x steps x (mean violation) in a run, and an average with a decay
per step looks back over a number of steps: both change with the length of the run. With T steps,

    ascent of rate r / T          lambda(u) = lambda(0) + r integral_0^u e(v) dv,  u = step / T
    average of decay e^(-1/(aT))  looks back over the share a of the run
    tolerances linear over bT     reach their end after the share b of the run

so that violations that depend on the share u alone make the same path of lambda, up to the step
of the sum. The noise of batches, of standard deviation s, moves lambda by r s sqrt(u / T): less
the longer the run. Before the first step the training asks each for its rule per step, `for_steps`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

import jax
from jaxtyping import PyTree

from dignified_jax.objectives.duals.controllers import CONTROLLERS, Ascent, Controller
from dignified_jax.objectives.duals.signals import SIGNALS, Ema, EmaMemory, Signal
from dignified_jax.objectives.duals.tolerances import SCHEDULES, Entries, Linear, Schedule
from dignified_jax.typed_config import Bounds, NonNegative, check_bounds

Share = Annotated[float, Bounds("(0, 1]")]


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class PacedAscent(Controller):
    """Plain ascent whose rate is that of a whole run, divided by its optimiser steps.

    Attributes:
      rate: multiplier that a violation of 1 nat throughout the run would make.
    """

    rate: NonNegative = 64.0

    name = "paced"

    def __post_init__(self) -> None:
        check_bounds(self, "method.controller.")

    def for_steps(self, steps: int) -> Controller:
        return Ascent(self.rate / steps)

    def step(
        self, state: tuple[()], multipliers: jax.Array, error: jax.Array
    ) -> tuple[tuple[()], jax.Array]:
        raise _unpaced("method.controller", self.name)


@SIGNALS.register
@dataclasses.dataclass(frozen=True)
class PacedEma(Signal):
    """Moving average that looks back over a share of the run.

    Attributes:
      share: of the run's optimiser steps.
    """

    share: Share = 0.05

    name = "paced_ema"

    def __post_init__(self) -> None:
        check_bounds(self, "method.signal.")

    def for_steps(self, steps: int) -> Signal:
        return Ema(math.exp(-1.0 / (self.share * steps)))

    def init(self, dimensions: int) -> EmaMemory:
        return Ema().init(dimensions)

    def push(self, memory: EmaMemory, losses: jax.Array) -> PyTree:
        raise _unpaced("method.signal", self.name)

    def value(self, memory: EmaMemory) -> tuple[jax.Array, jax.Array]:
        return Ema().value(memory)


@SCHEDULES.register
@dataclasses.dataclass(frozen=True)
class PacedLinear(Schedule):
    """From epsilon to `final` in a share of the run, and `final` from then on.

    Attributes:
      final: tolerances at the end, one entry for all dimensions or one for each.
      share: of the run's optimiser steps until then.
    """

    final: tuple[NonNegative, ...]
    share: Share = 1.0

    name = "paced_linear"

    def __post_init__(self) -> None:
        check_bounds(self, "method.schedule.")
        self.for_steps(1)  # which refuses `final` without an entry

    def check(self, epsilon: Entries, dimensions: int) -> None:
        """Raises ValueError as `Linear`."""
        self.for_steps(1).check(epsilon, dimensions)

    def for_steps(self, steps: int) -> Schedule:
        return Linear(self.final, max(round(self.share * steps), 1))

    def value(
        self, epsilon: Entries, step: jax.Array, signal: jax.Array, known: jax.Array
    ) -> jax.Array:
        raise _unpaced("method.schedule", self.name)


def _unpaced(section: str, name: str) -> ValueError:
    return ValueError(f"{section}.name={name!r} needs the steps of the run: ask for_steps(steps)")
