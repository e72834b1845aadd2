"""Lagrange multipliers for the constraints L_k <= epsilon_k: projected dual ascent.

    lambda_k <- clip(lambda_k + rate (signal_k - epsilon_k), 0, cap)

The signal is the batch's loss or its exponential moving average. A dimension that is absent from
a batch keeps its multiplier and its average.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct


class DualState(struct.PyTreeNode):
    """State of the dual ascent; every field is (K,) float32.

    Attributes:
      multipliers: lambda.
      average: decayed sum of past losses.
      weight: decayed sum of ones, so that average / weight is an unbiased moving average.
    """

    multipliers: jax.Array
    average: jax.Array
    weight: jax.Array


def init(multipliers: jax.Array) -> DualState:
    """State before the first batch."""
    zeros = jnp.zeros_like(multipliers)
    return DualState(multipliers=multipliers, average=zeros, weight=zeros)


def update(
    state: DualState,
    losses: jax.Array,
    present: jax.Array,
    *,
    epsilon: jax.Array,
    rate: float,
    cap: float,
    decay: float,
) -> DualState:
    """One projected ascent step.

    Args:
      losses: (K,) losses of the batch.
      present: (K,) bool, False where the batch has no pair of the dimension.
      epsilon: (K,) tolerances.
      rate: dual learning rate.
      cap: largest multiplier.
      decay: of the moving average; 0 makes the signal the batch's own loss.
    """
    average = decay * state.average + (1.0 - decay) * losses
    weight = decay * state.weight + (1.0 - decay)
    # A rate of 0 is kept apart: 0 x (loss - inf) would be NaN for an unlimited tolerance.
    step = rate * (average / weight - epsilon) if rate else 0.0
    ascended = state.multipliers + step
    stepped = DualState(multipliers=jnp.clip(ascended, 0.0, cap), average=average, weight=weight)
    return jax.tree.map(lambda new, old: jnp.where(present, new, old), stepped, state)
