"""Ratings in the layout of the computation, and their plain sums.

A block is one model's ratings, (J * I, Q): judge and item pairs by questions, the longest axis
last. Passes go block by block, so what they hold besides the ratings is one block, and sums over
pairs are products with a 0/1 matrix: many times faster on CPUs than reductions over leading axes.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Blocks:
    """Counts of M models, Q questions, J judges and I rubric items.

    Attributes:
      successes: (M, J * I, Q).
      trials: (M, J * I, Q).
      active: (M,) 1, or 0 for a model that is left out of the sums.
      judges: J.
      items: I.
      above: None for binary ratings. For ordinal ones (see `ordinal`), whose successes are sums
        of categories, (M, I, K - 1) numbers of ratings in category 1 or above, 2 or above, ...
      item_steps: None for binary ratings; (I,) numbers of steps of the items, at most K - 1.
      scales: 0 for binary ratings; 1 where all items share their steps, I where each has its own.
    """

    successes: jax.Array
    trials: jax.Array
    active: jax.Array
    judges: int = dataclasses.field(metadata={"static": True})
    items: int = dataclasses.field(metadata={"static": True})
    above: jax.Array | None = None
    item_steps: jax.Array | None = None
    scales: int = dataclasses.field(default=0, metadata={"static": True})

    @property
    def steps(self) -> int:
        """K - 1, the most that a rating can add to successes."""
        return self.above.shape[2] if self.scales else 1

    @property
    def step_counts(self) -> jax.Array | None:
        """(scales,) numbers of steps of each set; None for binary ratings."""
        return self.item_steps[: self.scales] if self.scales else None

    def highest(self) -> jax.Array:
        """(J * I, 1) the most that a rating of each pair can add to successes."""
        if not self.scales:
            return xp.ones((self.judges * self.items, 1), self.trials.dtype)
        return xp.tile(self.item_steps.astype(self.trials.dtype), self.judges)[:, None]


def as_blocks(successes: jax.Array, trials: jax.Array) -> Blocks:
    """From (M, Q, J, I) counts."""
    models, questions, judges, items = successes.shape
    successes, trials = (
        xp.moveaxis(array, 1, 3).reshape(models, judges * items, questions)
        for array in (successes, trials)
    )
    return Blocks(
        successes=successes,
        trials=trials,
        active=xp.ones(models, trials.dtype),
        judges=judges,
        items=items,
    )


def incidence(blocks: Blocks) -> jax.Array:
    """(R, J * I) 0/1: which pairs each of the R = J + I raters (judges, then items) is in."""
    judges, items = blocks.judges, blocks.items
    by_judge = xp.repeat(xp.eye(judges), items, axis=1)
    by_item = xp.tile(xp.eye(items), (1, judges))
    return xp.concatenate([by_judge, by_item]).astype(blocks.trials.dtype)


def pair_sums(matrix: jax.Array, values: jax.Array) -> jax.Array:
    """(R, Q): sums of (J * I, Q) values by the rows of an `incidence` (or any) matrix."""
    return xp.einsum("rp,pq->rq", matrix, values)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over a model's ratings by rater and question, and over all by pair.

    Attributes:
      missed: (M, R, Q) what successes are less than the most, summed for itself: exactly 0 where
        nothing is missed, whatever the rounding of large sums.
      successes: (M, R, Q).
      rated: (M, R, Q) numbers of (judge, item) pairs with ratings.
      rated_pairs: (J, I) numbers of (model, question) cells with ratings.
      faulty: scalar bool, whether any count is not a whole number with 0 <= successes <= most.
    """

    missed: jax.Array
    successes: jax.Array
    rated: jax.Array
    rated_pairs: jax.Array
    faulty: jax.Array

    @property
    def most(self) -> jax.Array:
        """(M, R, Q) successes if all were in the highest category: the trials of yes/no ratings."""
        return self.successes + self.missed


def totals(blocks: Blocks) -> Totals:
    """One pass over the ratings."""
    matrix, highest = incidence(blocks), blocks.highest()

    def add(carry, block):
        y, n = block
        n = highest * n
        pairs, faulty = carry
        rated = (n > 0).astype(n.dtype)
        # NaN fails every comparison.
        good = (y >= 0) & (y <= n) & (n < xp.inf) & (y == xp.round(y)) & (n == xp.round(n))
        sums = tuple(pair_sums(matrix, values) for values in (n - y, y, rated))
        pairs = pairs + rated.sum(axis=1).astype(xp.int32)
        return (pairs, faulty | ~good.all()), sums

    start = (xp.zeros(blocks.judges * blocks.items, xp.int32), xp.asarray(False))
    carry, sums = xp.scan(add, start, (blocks.successes, blocks.trials))
    return Totals(
        missed=sums[0],
        successes=sums[1],
        rated=sums[2],
        rated_pairs=carry[0].reshape(blocks.judges, blocks.items),
        faulty=carry[1],
    )
