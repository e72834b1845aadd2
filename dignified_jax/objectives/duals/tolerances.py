"""Tolerances epsilon_k of the constraints L_k <= epsilon_k: constant, scheduled, adaptive."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

Entries = tuple[float, ...]


class Tolerance(Protocol):
    """Epsilon as a pure function of the updates done and of the dual signals."""

    def value(self, step: jax.Array, signal: jax.Array, known: jax.Array) -> jax.Array:
        """(K,) float32 tolerances.

        Args:
          step: () int32, dual updates done before this one.
          signal: (K,) the losses achieved, as the dual signal has them.
          known: (K,) bool, False where the signal has seen no batch yet.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same at every step; one entry for all dimensions or one for each."""

    epsilon: Entries

    def value(self, step: jax.Array, signal: jax.Array, known: jax.Array) -> jax.Array:
        del step, known
        return _broadcast(self.epsilon, signal)


@dataclasses.dataclass(frozen=True)
class Linear:
    """From `start` to `final` in `steps` updates, and `final` from then on."""

    start: Entries
    final: Entries
    steps: int

    def value(self, step: jax.Array, signal: jax.Array, known: jax.Array) -> jax.Array:
        del known
        done = jnp.minimum(step.astype(jnp.float32) / self.steps, 1.0)
        start, final = _broadcast(self.start, signal), _broadcast(self.final, signal)
        # This form, unlike start + done (final - start), ends on `final` exactly.
        return (1.0 - done) * start + done * final


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """max(epsilon_k, the mean of the losses achieved), the mean over the dimensions seen so far.

    A fixed epsilon that can't be reached drives every multiplier to its cap, where all weights
    are equal and the constraints mean nothing. This one asks for `epsilon` where that is within
    reach of the average dimension and, where it is not, that no dimension be worse than average:
    at any time some multipliers rise and others fall. Before the first batch it is `epsilon`.
    """

    epsilon: Entries

    def value(self, step: jax.Array, signal: jax.Array, known: jax.Array) -> jax.Array:
        del step
        seen = known.sum().astype(jnp.float32)
        achieved = jnp.where(known, signal, 0.0).sum() / jnp.maximum(seen, 1.0)
        return jnp.maximum(_broadcast(self.epsilon, signal), achieved)


def _broadcast(entries: Entries, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(entries, jnp.float32), like.shape)
