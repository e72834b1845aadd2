"""Memory that a fit will take, estimated before it begins."""

from __future__ import annotations

import jax
import numpy as np

from dignified_jax.mfrm.input.memory import machine_bytes, refuse_beyond_memory
from dignified_jax.mfrm.result import FACETS

DENSE_CURE = "Fit fewer levels at once, or, for many judges, use mfrm.fit_sparse"
# Numbers of cells are int32 in a program of a list.
MOST_CELLS = 2**31 - 1
SPARSE_CURE = "Fit fewer models at once: the covariance of their scores is dense"


def refuse_dense(
    shape: tuple[int, ...], itemsize: int, *, partial_credit: bool = False, points: int = 0
) -> None:
    """Raises ValueError, in a line, for ratings whose fit would not fit into memory.

    Args:
      shape: of the counts, (M, Q, J, I), of ordinal ones with the categories.
      itemsize: bytes of a number.
      partial_credit: whether each item has its own steps.
      points: of the quadrature over a cell, 0 without.
    """
    models, questions, judges, items = map(float, shape[:4])
    categories = float(shape[4]) if len(shape) > 4 else 2.0
    steps = (categories - 1) * (items if partial_credit else 1.0) if len(shape) > 4 else 0.0
    raters = judges + items + steps
    numbers = (
        2 * models * questions * judges * items * categories  # the ratings, in two layouts
        + (judges + items) * judges * items  # which judge and item make which pair
        + 3 * models * questions * raters
        + 2 * models * questions * points * (raters + points)  # residuals and weights there
        + 5 * (raters + models) ** 2  # the border and its inverse
    )
    connection = 4 * 8 * (models + judges + items) ** 2  # in double precision
    refuse_beyond_memory(_sizes(shape), itemsize * numbers + connection, DENSE_CURE, _most())


def refuse_sparse(
    shape: tuple[int, ...], ratings: int, itemsize: int, *, categories: int = 0
) -> None:
    """Does what `refuse_dense` does, for a list of ratings of (M, Q, J, I) levels.

    Refuses too many models by questions for their numbers, also where they would fit.
    """
    models, questions = map(float, shape[:2])
    levels = float(sum(shape))
    numbers = (
        (20 + 6 * categories) * ratings
        + 8 * models * questions
        + 3 * models * levels
        + 4 * models**2
    )
    refuse_beyond_memory(_sizes(shape), itemsize * numbers, SPARSE_CURE, _most())
    if models * questions > MOST_CELLS:
        raise ValueError(
            f"{_sizes(shape)}: {shape[0] * shape[1]:,} pairs of a model and a question are more "
            f"than {MOST_CELLS:,}, the most of a sparse fit. Fit fewer models or questions at once"
        )


def _sizes(shape: tuple[int, ...]) -> str:
    named = zip((*FACETS, "category"), shape, strict=False)
    return "ratings of " + " x ".join(f"{size:,} ({axis})" for axis, size in named)


def _most() -> int | None:
    """Bytes of the devices where they tell, else of the machine."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    known = [limit for limit in limits if limit]
    return int(np.sum(known)) if known else machine_bytes()
