"""Checks of hyperparameters that the objectives share; errors name the configuration field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")


def relative_weights(values: Sequence[float]) -> None:
    """Raises ValueError where all of method.weights are 0."""
    if not any(values):
        raise ValueError(f"method.weights needs a positive entry, found {tuple(values)}")


def entries(field: str, values: Sequence[T], dimensions: int) -> tuple[T, ...]:
    """K entries from 1 or K. Raises ValueError for any other number."""
    if len(values) not in (1, dimensions):
        raise ValueError(f"method.{field} needs 1 or {dimensions} entries, found {tuple(values)}")
    return tuple(values) * (dimensions if len(values) == 1 else 1)


def per_dimension(field: str, values: Sequence[float], dimensions: int) -> jax.Array:
    """(K,) float32 from 1 or K entries. Raises ValueError for any other number."""
    return jnp.asarray(entries(field, values, dimensions), jnp.float32)
