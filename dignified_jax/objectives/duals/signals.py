"""Dual signals: what a multiplier's ascent takes for the current loss of its dimension.

A signal is a pure pair: `push` puts a batch's losses into a memory, `value` reads it. Every leaf
of a memory has the dimensions last, so that the caller can keep those absent from a batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct


class Signal(Protocol):
    """A summary of the losses seen so far, per dimension."""

    def init(self, dimensions: int) -> Any:
        """The memory before the first batch; its leaves are (..., K) float32."""
        ...

    def push(self, memory: Any, losses: jax.Array) -> Any:
        """The memory after a batch with (K,) losses."""
        ...

    def value(self, memory: Any) -> tuple[jax.Array, jax.Array]:
        """((K,) signal, (K,) bool: anything seen yet); the signal is 0 where nothing is."""
        ...


class EmaMemory(struct.PyTreeNode):
    """Both (K,): the decayed sum of past losses, and the decayed sum of ones."""

    total: jax.Array
    weight: jax.Array


@dataclasses.dataclass(frozen=True)
class Ema:
    """Unbiased exponential moving average; a decay of 0 is the last batch's loss itself."""

    decay: float

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


class WindowMemory(struct.PyTreeNode):
    """(length, K) losses, newest last and zero where there is none; (K,) how many there are."""

    losses: jax.Array
    count: jax.Array


@dataclasses.dataclass(frozen=True)
class Window:
    """Mean over the last `length` batches that have the dimension."""

    length: int

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
