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
import jax.numpy as jnp

from dignified_jax.mfrm.solver.blocks import einsum

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
    empty = jax.tree.map(lambda leaf: jnp.stack([jnp.zeros_like(leaf)] * MEMORY), point)
    zeros = jax.tree.map(jnp.zeros_like, point)
    return History(empty, empty, zeros, zeros, jnp.asarray(0, jnp.int32))


def accelerate(history: History, point: PyTree, step: PyTree) -> tuple[History, PyTree]:
    """The history with this point, and the step to take in place of `step`."""
    place = (history.count - 1) % MEMORY
    first = history.count == 0

    def put(stack, new, old):
        return jnp.where(first, stack, stack.at[place].set(new - old))

    points = jax.tree.map(put, history.points, point, history.point)
    steps = jax.tree.map(put, history.steps, step, history.step)
    history = History(points, steps, point, step, history.count + 1)

    leaves = zip(jax.tree.leaves(steps), jax.tree.leaves(step), strict=True)
    products = [
        (
            einsum("ia,ja->ij", stack.reshape(MEMORY, -1), stack.reshape(MEMORY, -1)) / leaf.size,
            einsum("ia,a->i", stack.reshape(MEMORY, -1), leaf.ravel()) / leaf.size,
        )
        for stack, leaf in leaves
    ]
    gram, right = (sum(parts) for parts in zip(*products, strict=True))
    # Unused places have zeros: the ridge gives them a weight of 0.
    size = jnp.diag(gram)
    ridge = 10.0 * jnp.finfo(gram.dtype).eps * size.max()
    scale = jax.lax.rsqrt(size + ridge + jnp.finfo(gram.dtype).tiny)
    scaled = scale[:, None] * gram * scale + 10.0 * jnp.finfo(gram.dtype).eps * jnp.eye(MEMORY)
    weights = scale * jnp.linalg.solve(scaled, scale * right)

    def combine(step, dx, df):
        return step - jnp.tensordot(weights, dx + df, axes=1, precision="highest")

    return history, jax.tree.map(combine, step, points, steps)
