"""PCGrad-DPO: projecting conflicting gradients of the dimensions away from each other.

    for each k:  g'_k = g_k;  for j != k in random order:
        if <g'_k, g_j> < 0:  g'_k <- g'_k - <g'_k, g_j> / |g_j|^2 g_j        with the original g_j

and the update is the sum of g'_k, or their mean. Yu et al., "Gradient Surgery for Multi-Task
Learning" (2020), algorithm 1.

Every g'_k is a linear combination of the K gradients, so the projection needs only their inner
products: K x K numbers, found once, in place of K^2 passes over the parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from dignified_jax.objectives.base import Objective, ScoredBatch, register
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import Positive, Seed


def project(gradients: Sequence[PyTree], key: jax.Array, reduce: str = "mean") -> PyTree:
    """The combined gradient of K trees of equal structure, visited in random orders from `key`.

    Args:
      gradients: K trees, each the gradient of one dimension over the whole global batch: the
        projection is not linear and can't be summed over parts of it.
      key: PRNG key of the orders; another at every step.
      reduce: "sum" (the original) or "mean" over k.

    Returns:
      A tree like each of the gradients; computed in float32.

    Raises:
      ValueError: an unknown `reduce`.
    """
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce: expected 'mean' or 'sum', found {reduce!r}")
    count = len(gradients)
    orders = jax.vmap(lambda k: jax.random.permutation(k, count))(jax.random.split(key, count))
    weights = coefficients(gram(gradients), orders).sum(axis=0)
    if reduce == "mean":
        weights /= count

    def combine(*leaves: jax.Array) -> jax.Array:
        total = sum(w * leaf.astype(jnp.float32) for w, leaf in zip(weights, leaves, strict=True))
        return total.astype(leaves[0].dtype)

    return jax.tree.map(combine, *gradients)


def gram(gradients: Sequence[PyTree]) -> jax.Array:
    """(K, K) float32 inner products of K trees."""

    def inner(left: PyTree, right: PyTree) -> jax.Array:
        # A product and a sum: a dot would be rounded to lower precision on some accelerators.
        products = jax.tree.map(
            lambda x, y: jnp.sum(x.astype(jnp.float32) * y.astype(jnp.float32)), left, right
        )
        return sum(jax.tree.leaves(products), jnp.float32(0.0))

    count = len(gradients)
    upper = {
        (j, k): inner(gradients[j], gradients[k]) for j in range(count) for k in range(j, count)
    }
    rows = [[upper[min(j, k), max(j, k)] for k in range(count)] for j in range(count)]
    return jnp.stack([jnp.stack(row) for row in rows])


def coefficients(inner_products: jax.Array, orders: jax.Array) -> jax.Array:
    """(K, K) float32: row k writes g'_k in the original gradients.

    Args:
      inner_products: (K, K) from `gram`.
      orders: (K, K) int; row k is the order in which g_k meets the others; k itself is skipped,
        and so is a gradient of norm 0.
    """
    count = len(inner_products)
    norms = jnp.diagonal(inner_products)

    def projected(k: jax.Array, order: jax.Array) -> jax.Array:
        def meet(row: jax.Array, j: jax.Array) -> tuple[jax.Array, None]:
            inner = jnp.sum(row * inner_products[j])
            conflicts = (inner < 0) & (norms[j] > 0) & (j != k)
            step = jnp.where(conflicts, inner / jnp.where(norms[j] > 0, norms[j], 1.0), 0.0)
            return row.at[j].add(-step), None

        row, _ = jax.lax.scan(meet, jnp.zeros(count).at[k].set(1.0), order)
        return row

    return jax.vmap(projected)(jnp.arange(count), orders)


@register
@dataclasses.dataclass(frozen=True)
class PCGradDPO(Terms, Objective):
    """DPO on every dimension, with the gradients of the L_k combined by `project`.

    The gradient of the golden's NLL (`golden_nll`) is added to the combined one: it is no
    dimension's, so it is neither projected nor projected on.

    Attributes:
      beta: inverse temperature of the implicit reward.
      reduce: "mean" of the projected gradients, comparable in scale with averaging; or their
        "sum", the original.
      seed: of the random orders.
    """

    beta: Positive = 0.1
    reduce: Literal["mean", "sum"] = "mean"
    seed: Seed = 0

    name = "pcgrad"
    combines_gradients = True

    def init(self, dimensions: int) -> jax.Array:
        """Returns () int32, the steps done, on which a step's orders depend beside the seed."""
        del dimensions
        return jnp.zeros((), jnp.int32)

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: jax.Array
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`; the scalar is a report, the L_k are differentiated."""
        losses = self.dimension_losses(batch, counts)
        return losses.mean() if self.reduce == "mean" else losses.sum(), losses

    def combine(self, gradients: Sequence[PyTree], state: jax.Array) -> PyTree:
        """Returns one gradient tree from the K of the L_k, each over the whole global batch."""
        key = jax.random.fold_in(jax.random.key(self.seed), state)
        return project(gradients, key, self.reduce)

    def update(
        self,
        state: jax.Array,
        losses: Float[Array, " dimension"],
        present: Bool[Array, " dimension"],
        batch: ScoredBatch,
    ) -> jax.Array:
        del losses, present, batch
        return state + 1
