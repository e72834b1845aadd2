"""Anderson acceleration of a fixed-point iteration over trees of arrays.

With x_k the points, f_k = g(x_k) - x_k the plain steps, and dX, dF the differences of the last m of
each, the next point is

    x + f - (dX + dF) gamma        gamma = argmin |f - dF gamma|

Walker & Ni, "Anderson acceleration for fixed-point iterations" (2011), type II. Every leaf of the
tree counts alike in the norm, by its mean square.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp

MEMORY = 5
# A tree of arrays, all of whose points have one structure.
PyTree: TypeAlias = object


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class History:
    """The last MEMORY differences, the newest in place `count % MEMORY` less one.

    Attributes:
      points: dX, leaves with a leading axis of MEMORY.
      steps: dF, likewise.
      point: x_{k-1}.
      step: f_{k-1}.
      count: points seen since the start.
    """

    points: PyTree
    steps: PyTree
    point: PyTree
    step: PyTree
    count: jax.Array


def start(point: PyTree) -> History:
    """An empty history for points like `point`."""
    empty = jax.tree.map(lambda leaf: xp.stack([xp.zeros_like(leaf)] * MEMORY), point)
    zeros = jax.tree.map(xp.zeros_like, point)
    return History(empty, empty, zeros, zeros, xp.asarray(0, xp.int32))


def accelerate(history: History, point: PyTree, step: PyTree) -> tuple[History, PyTree]:
    """The history with this point, and the step to take in place of `step`."""
    place = (history.count - 1) % MEMORY
    first = history.count == 0

    def put(stack, new, old):
        return xp.where(first, stack, xp.put(stack, place, new - old))

    points = jax.tree.map(put, history.points, point, history.point)
    steps = jax.tree.map(put, history.steps, step, history.step)
    history = History(points, steps, point, step, history.count + 1)

    leaves = zip(jax.tree.leaves(steps), jax.tree.leaves(step), strict=True)
    rows = [
        (stack.reshape(MEMORY, -1) / np.sqrt(leaf.size), leaf.ravel() / np.sqrt(leaf.size))
        for stack, leaf in leaves
    ]
    gram = sum(xp.einsum("ia,ja->ij", stack, stack) for stack, _ in rows)
    right = sum(xp.einsum("ia,a->i", stack, leaf) for stack, leaf in rows)
    # Unused places have zeros: the ridge gives them a weight of 0.
    size = xp.diag(gram)
    ridge = 10.0 * xp.finfo(gram.dtype).eps * size.max()
    scale = xp.rsqrt(size + ridge + xp.finfo(gram.dtype).tiny)
    scaled = scale[:, None] * gram * scale + 10.0 * xp.finfo(gram.dtype).eps * xp.eye(MEMORY)
    weights = scale * xp.solve(scaled, scale * right)

    def combine(step, dx, df):
        return step - xp.tensordot(weights, dx + df, 1)

    return history, jax.tree.map(combine, step, points, steps)
