"""Schedules of the tolerances epsilon_k in L_k <= epsilon_k: constant, linear, adaptive."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dignified_jax.objectives.checks import entries
from dignified_jax.registry import Registry
from dignified_jax.typed_config import Count, NonNegative, check_bounds

Entries = tuple[float, ...]


class Schedule:
    """Tolerances as a pure function of epsilon, the updates done and the dual signals.

    Attributes:
      name: in the configuration.
      varies: the tolerances are not epsilon at all times, so that they are logged.
    """

    name: ClassVar[str]
    varies: ClassVar[bool] = True

    def check(self, epsilon: Entries, dimensions: int) -> None:
        """Raises ValueError where epsilon or the schedule's own fields do not fit."""

    def for_steps(self, steps: int) -> Schedule:
        """Returns the schedule per step of a run of so many optimiser steps; itself by default."""
        del steps
        return self

    def value(
        self,
        epsilon: Entries,
        step: Int[Array, ""],
        signal: Float[Array, " dimension"],
        known: Bool[Array, " dimension"],
    ) -> Float[Array, " dimension"]:
        """Returns the tolerances.

        Args:
          epsilon: one entry for all dimensions or one for each.
          step: dual updates done before this one.
          signal: the losses achieved, as the dual signal has them.
          known: False where the signal has seen no batch yet.
        """
        raise NotImplementedError


SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)
"""All by name."""


@SCHEDULES.register
@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """Epsilon at every step."""

    name = "constant"
    varies = False

    def value(
        self, epsilon: Entries, step: jax.Array, signal: jax.Array, known: jax.Array
    ) -> jax.Array:
        del step, known
        return _broadcast(epsilon, signal)


@SCHEDULES.register
@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
    """From epsilon to `final` in `steps` updates, and `final` from then on.

    Attributes:
      final: tolerances at the end, one entry for all dimensions or one for each.
      steps: optimiser steps until then.
    """

    final: tuple[NonNegative, ...]
    steps: Count

    name = "linear"

    def __post_init__(self) -> None:
        check_bounds(self, "method.schedule.")
        if not self.final:
            raise ValueError("method.schedule.final needs an entry, found none")

    def check(self, epsilon: Entries, dimensions: int) -> None:
        """Raises ValueError for an infinite epsilon, or a wrong number of final entries."""
        if not all(map(math.isfinite, epsilon)):
            raise ValueError(f"method.epsilon {epsilon} must be finite with a linear schedule")
        entries("schedule.final", self.final, dimensions)

    def value(
        self, epsilon: Entries, step: jax.Array, signal: jax.Array, known: jax.Array
    ) -> jax.Array:
        del known
        done = jnp.minimum(step.astype(jnp.float32) / self.steps, 1.0)
        start, final = _broadcast(epsilon, signal), _broadcast(self.final, signal)
        # This form, unlike start + done (final - start), ends on `final` exactly.
        return (1.0 - done) * start + done * final


@SCHEDULES.register
@dataclasses.dataclass(frozen=True)
class Adaptive(Schedule):
    """max(epsilon_k, the mean of the losses achieved), the mean over the dimensions seen so far.

    A fixed epsilon that can't be reached drives every multiplier to its cap, where all weights
    are equal and the constraints mean nothing. This one asks for `epsilon` where that is within
    reach of the average dimension and, where it is not, that no dimension be worse than average:
    at any time some multipliers rise and others fall. Before the first batch it is `epsilon`.
    """

    name = "adaptive"

    def value(
        self, epsilon: Entries, step: jax.Array, signal: jax.Array, known: jax.Array
    ) -> jax.Array:
        del step
        seen = known.sum().astype(jnp.float32)
        achieved = jnp.where(known, signal, 0.0).sum() / jnp.maximum(seen, 1.0)
        return jnp.maximum(_broadcast(epsilon, signal), achieved)


def _broadcast(entries: Entries, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(entries, jnp.float32), like.shape)
