"""Dual signals: what a multiplier's ascent takes for the current loss of its dimension.

A signal is a pure pair: `push` puts a batch's losses into a memory, `value` reads it. Every leaf
of a memory has the dimensions last, so that the caller can keep those absent from a batch.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import PyTree

from dignified_jax.registry import Registry
from dignified_jax.typed_config import Bounds, check_bounds


class Signal:
    """A summary of the losses seen so far, per dimension.

    Attributes:
      name: in the configuration.
      remembers: it holds batches before the one that is weighed.
    """

    name: ClassVar[str]
    remembers: ClassVar[bool] = True

    def for_steps(self, steps: int) -> Signal:
        """Returns the signal per step of a run of so many optimiser steps; itself by default."""
        del steps
        return self

    def init(self, dimensions: int) -> PyTree:
        """Returns the memory before the first batch; its leaves are (..., K) float32."""
        raise NotImplementedError

    def push(self, memory: PyTree, losses: jax.Array) -> PyTree:
        """Returns the memory after a batch."""
        raise NotImplementedError

    def value(self, memory: PyTree) -> tuple[jax.Array, jax.Array]:
        """Returns the signal, 0 where nothing is known, and where something is."""
        raise NotImplementedError


SIGNALS: Registry[Signal] = Registry("signal", Signal)
"""All by name."""


class EmaMemory(struct.PyTreeNode):
    """Both (K,): the decayed sum of past losses, and the decayed sum of ones."""

    total: jax.Array
    weight: jax.Array


@SIGNALS.register
@dataclasses.dataclass(frozen=True)
class Ema(Signal):
    """Unbiased exponential moving average; a decay of 0 is the last batch's loss itself.

    Attributes:
      decay: per optimiser step that has the dimension.
    """

    decay: Annotated[float, Bounds("[0, 1)")] = 0.9

    name = "ema"

    def __post_init__(self) -> None:
        check_bounds(self, "method.signal.")

    def init(self, dimensions: int) -> EmaMemory:
        zeros = jnp.zeros(dimensions, jnp.float32)
        return EmaMemory(total=zeros, weight=zeros)

    def push(self, memory: EmaMemory, losses: jax.Array) -> EmaMemory:
        return EmaMemory(
            total=self.decay * memory.total + (1.0 - self.decay) * losses,
            weight=self.decay * memory.weight + (1.0 - self.decay),
        )

    def value(self, memory: EmaMemory) -> tuple[jax.Array, jax.Array]:
        known = memory.weight > 0
        return memory.total / jnp.where(known, memory.weight, 1.0), known


@SIGNALS.register
@dataclasses.dataclass(frozen=True)
class Batch(Signal):
    """The batch's own losses; those of the last batch that has the dimension."""

    name = "batch"
    remembers = False

    def init(self, dimensions: int) -> EmaMemory:
        return Ema(0.0).init(dimensions)

    def push(self, memory: EmaMemory, losses: jax.Array) -> EmaMemory:
        return Ema(0.0).push(memory, losses)

    def value(self, memory: EmaMemory) -> tuple[jax.Array, jax.Array]:
        return Ema(0.0).value(memory)


class WindowMemory(struct.PyTreeNode):
    """(length, K) losses, newest last and zero where there is none; (K,) how many there are."""

    losses: jax.Array
    count: jax.Array


@SIGNALS.register
@dataclasses.dataclass(frozen=True)
class Window(Signal):
    """Mean over the last batches that have the dimension.

    Attributes:
      length: how many.
    """

    length: Annotated[int, Bounds("[1, 1048576]")] = 10

    name = "window"

    def __post_init__(self) -> None:
        check_bounds(self, "method.signal.")

    def init(self, dimensions: int) -> WindowMemory:
        return WindowMemory(
            losses=jnp.zeros((self.length, dimensions), jnp.float32),
            count=jnp.zeros(dimensions, jnp.float32),
        )

    def push(self, memory: WindowMemory, losses: jax.Array) -> WindowMemory:
        return WindowMemory(
            losses=jnp.concatenate([memory.losses[1:], losses[None]]),
            count=jnp.minimum(memory.count + 1.0, self.length),
        )

    def value(self, memory: WindowMemory) -> tuple[jax.Array, jax.Array]:
        return memory.losses.sum(axis=0) / jnp.maximum(memory.count, 1.0), memory.count > 0
