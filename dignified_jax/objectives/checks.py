"""Checks of hyperparameters that the objectives share; errors name the configuration field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def positive(method: Any, *fields: str) -> None:
    """Raises ValueError unless each field of `method` is above 0."""
    for field in fields:
        if not getattr(method, field) > 0:
            raise ValueError(f"method.{field} must be positive, found {getattr(method, field)}")


def relative_weights(values: Sequence[float]) -> None:
    """Raises ValueError unless method.weights are finite, at least 0 and not all 0."""
    if not values or not all(0 <= value < math.inf for value in values) or not any(values):
        raise ValueError(
            f"method.weights needs finite entries of at least 0, one of them positive, "
            f"found {tuple(values)}"
        )


def entries(field: str, values: Sequence[Any], dimensions: int) -> tuple[Any, ...]:
    """K entries from 1 or K. Raises ValueError for any other number."""
    if len(values) not in (1, dimensions):
        raise ValueError(f"method.{field} needs 1 or {dimensions} entries, found {tuple(values)}")
    return tuple(values) * (dimensions if len(values) == 1 else 1)


def per_dimension(field: str, values: Sequence[float], dimensions: int) -> jax.Array:
    """(K,) float32 from 1 or K entries. Raises ValueError for any other number."""
    return jnp.asarray(entries(field, values, dimensions), jnp.float32)
