"""Sums of products by NumPy, as matrix products of a size that BLAS does on one core.

Those of a fit are long and thin: many ratings, few judges. BLAS shares them among threads that wait
for each other, which on a machine with other work takes many times as long as the product.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

# Multiplications from which BLAS uses threads; and how much thinner than long a product is then.
ONE_CORE = 2**17
SHORTEST_SLICE = 256


@functools.cache
def plan(subscripts: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """The sums as one matrix product, many times faster on small arrays than NumPy's einsum.

    None where they are not the sums of a product of two arrays.
    """
    inputs, output = subscripts.split("->")
    names = inputs.split(",")
    shared = set(names[0]) & set(names[-1])
    alone = [[i for i in name if i not in shared] for name in names]
    if len(names) != 2 or not set(output) >= set(alone[0] + alone[1]):
        return None
    batch = [i for i in output if i in shared]
    summed = [i for i in names[0] if i in shared and i not in output]
    order = [batch + alone[0] + summed, batch + summed + alone[1]]
    axes = [[name.index(i) for i in wanted] for name, wanted in zip(names, order, strict=True)]
    found = batch + alone[0] + alone[1]
    back = [found.index(i) for i in output]
    many, first = len(batch), len(batch) + len(alone[0])

    def product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        one, other = one.transpose(axes[0]), other.transpose(axes[1])
        sizes = one.shape[:many]
        length = math.prod(one.shape[first:])
        left = one.reshape(*sizes, -1, length)
        right = other.reshape(*sizes, length, -1)
        shape = one.shape[:first] + other.shape[many + len(summed) :]
        return multiply(left, right).reshape(shape).transpose(back)

    return product


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left @ right, in slices along its longest axis if it is long and thin."""
    rows, length = left.shape[-2:]
    columns = right.shape[-1]
    longest = max(rows, length, columns)
    thin = rows * length * columns // max(longest, 1)
    width = ONE_CORE // max(thin, 1)
    if longest <= width or width < SHORTEST_SLICE:
        return left @ right
    starts = range(0, longest, width)
    if longest == length:
        return sum(left[..., at : at + width] @ right[..., at : at + width, :] for at in starts)
    if longest == columns:
        return np.concatenate([left @ right[..., at : at + width] for at in starts], axis=-1)
    return np.concatenate([left[..., at : at + width, :] @ right for at in starts], axis=-2)
