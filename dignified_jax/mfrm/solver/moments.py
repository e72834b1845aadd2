"""One pass over binary ratings: the sums of residuals and weights that a Newton step needs.

With x the logit, y successes of n trials and p = 1 / (1 + e^-x),

    residual = y - n p        weight = n p (1 - p)        skew = d weight / d x = weight (1 - 2 p)

All three are written in the odds e^x, as products that do not cancel: for a cell with only
successes the residual is n / (1 + e^x), right to the last bit however small, while n - n p is lost
in rounding once p is near 1. Odds are products too, of a cell's and a pair's: no rating costs an
exponential.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver.blocks import Blocks, incidence, pair_sums

# Farther from 0 a cell's logit gives the same answers.
MOST_LOGIT = 43.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parameters:
    """Effects that ADD UP to the logit: severities and difficulties have their sign turned.

    Attributes:
      theta: (M, Q).
      question: (Q,).
      raters: (R,) judges, then rubric items, then the steps of an ordinal model, scale by scale.
      intercept: (M,).
    """

    theta: jax.Array
    question: jax.Array
    raters: jax.Array
    intercept: jax.Array

    def cell(self) -> jax.Array:
        """(M, Q) part of the logit that the ratings of a cell share."""
        return self.intercept[:, None] + self.theta + self.question

    def pairs(self, judges: int, items: int) -> jax.Array:
        """(J * I,) part of the logit that the ratings of a judge and item share."""
        return (self.raters[:judges, None] + self.raters[judges : judges + items]).ravel()

    def plus(self, step: Parameters, scale: jax.Array | float = 1.0) -> Parameters:
        """self + scale * step."""
        return jax.tree.map(lambda value, change: value + scale * change, self, step)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over ratings.

    Attributes:
      residual: (M, Q).
      rater_residual: (R,).
      weight: (M, Q).
      rater_weight: (M, R, Q).
      pair_weight: (J, I).
      rater_skew: (M, R, Q), None where not asked for.
      step_weight: (J + I, T) of judges and items with the T steps of an ordinal model, else None.
      step_block: (T, T), likewise.
    """

    residual: jax.Array
    rater_residual: jax.Array
    weight: jax.Array
    rater_weight: jax.Array
    pair_weight: jax.Array
    rater_skew: jax.Array | None = None
    step_weight: jax.Array | None = None
    step_block: jax.Array | None = None


def moments(blocks: Blocks, parameters: Parameters, *, skew: bool = False) -> Moments:
    """Sums at the given parameters; `skew`: whether the skews are wanted as well."""
    matrix = incidence(blocks)
    everything = xp.ones_like(matrix[:1])
    logits = parts(parameters.cell(), parameters.pairs(blocks.judges, blocks.items)[:, None])
    cells, pairs = map(xp.exp, logits)

    def add(carry, block):
        y, n, cell, active = block
        y, n = active * y, active * n
        p, q = chances(cell * pairs)
        residual = y * q - (n - y) * p
        weight = n * (p * q)
        sums = [pair_sums(everything, residual)[0], pair_sums(matrix, weight)]
        if skew:
            sums.append(pair_sums(matrix, weight * (q - p)))
        carry = (carry[0] + residual.sum(axis=1), carry[1] + weight.sum(axis=1))
        return carry, tuple(sums)

    nothing = xp.zeros_like(everything[0])
    carry, sums = xp.scan(
        add, (nothing, nothing), (blocks.successes, blocks.trials, cells, blocks.active)
    )
    rater_weight = sums[1]
    return Moments(
        residual=sums[0],
        rater_residual=matrix @ carry[0],
        weight=rater_weight[:, : blocks.judges].sum(axis=1),
        rater_weight=rater_weight,
        pair_weight=carry[1].reshape(blocks.judges, blocks.items),
        rater_skew=sums[2] if skew else None,
    )


def parts(
    cells: jax.Array, pairs: jax.Array, most: float | None = None
) -> tuple[jax.Array, jax.Array]:
    """Logits of cells and pairs, moved together so that pairs lie about 0, and none beyond `most`.

    None for as far as the odds of the sum of two have a number: 43 in float32.
    """
    most = 0.49 * float(np.log(xp.finfo(cells.dtype).max)) if most is None else most
    middle = 0.5 * (pairs.max() + pairs.min())
    return xp.clip(cells + middle, -most, most), xp.clip(pairs - middle, -most, most)


def chances(odds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """p and 1 - p from p / (1 - p), the smaller of them right to the last bit as well."""
    failure = 1.0 / (1.0 + odds)
    return odds * failure, failure


def cell_sums(
    blocks: Blocks, parameters: Parameters, cells: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(M, K, Q) log-likelihoods and (M, R, K, Q) raters' residuals, summed within each cell.

    Args:
      blocks: the ratings.
      parameters: of which the raters' are used.
      cells: (M, K, Q) what their ratings share of the logit, at K points each.
    """
    matrix = incidence(blocks)
    cells, logits = parts(cells, parameters.pairs(blocks.judges, blocks.items), MOST_LOGIT)
    pairs = xp.exp(logits)[:, None, None]
    # So many have a product.
    together = int(np.log(xp.finfo(cells.dtype).max) // (2.0 * MOST_LOGIT))
    once = (blocks.trials <= 1.0).all()

    def add(carry, block):
        y, n, cell, active = block
        y, n = active * y, active * n

        def at(y, n, cell):
            failure = 1.0 / (1.0 + xp.exp(cell) * pairs)
            n = n[:, None]
            lost = xp.either(
                once,
                lambda: _log_product(xp.where(n > 0.0, failure, 1.0), together),
                lambda: (n * xp.log(failure)).sum(axis=0),
            )
            value = y.sum(axis=0) * cell + xp.einsum("p,pq->q", logits, y) + lost
            return value, by_rater(matrix, n * failure)

        value, failures = xp.by_slices(at, (y, n, cell), len(logits) * len(cell))
        return carry, (value, failures - pair_sums(matrix, n - y)[:, None])

    rows = (blocks.successes, blocks.trials, cells, blocks.active)
    return xp.scan(add, None, rows)[1]


def mean_weights(
    blocks: Blocks, parameters: Parameters, cells: jax.Array, chances: jax.Array
) -> tuple[jax.Array, ...]:
    """Weights by pair (J, I), by rater (M, R) and by model (M,), averaged over points of the cells.

    Args:
      blocks: the ratings.
      parameters: of which the raters' are used.
      cells: (M, K, Q) what their ratings share of the logit.
      chances: (M, K, Q) of these.
    """
    pairs = parameters.pairs(blocks.judges, blocks.items)[:, None]
    cells, pairs = map(xp.exp, parts(cells, pairs))

    def add(carry, block):
        n, cell, chance, active = block

        def at(n, cell, chance):
            total = 0.0
            for logit, share in zip(cell, chance, strict=True):
                failure = 1.0 / (1.0 + logit * pairs)
                total = total + share * (failure - failure * failure)
            return n * total

        weight = xp.by_slices(at, (n, cell, chance), len(pairs))
        return carry, active * weight.sum(axis=1)

    rows = (blocks.trials, cells, chances, blocks.active)
    by_pair = xp.scan(add, None, rows)[1]
    by_model = xp.einsum("rp,mp->mr", incidence(blocks), by_pair)
    shape = (blocks.judges, blocks.items)
    return by_pair.sum(axis=0).reshape(shape), by_model, by_pair.sum(axis=1)


def _log_product(values: jax.Array, together: int) -> jax.Array:
    """Sum over the first axis of logs, of so many numbers together."""
    total = 0.0
    for start in range(0, len(values), together):
        total = total + xp.log(functools.reduce(xp.multiply, values[start : start + together]))
    return total


def by_rater(matrix: jax.Array, values: jax.Array) -> jax.Array:
    """(R, K, Q) sums by the rows of an `incidence` (or any) matrix, of (J * I, K, Q) values."""
    flat = pair_sums(matrix, values.reshape(len(values), -1))
    return flat.reshape(len(matrix), *values.shape[1:])


def log_likelihood(blocks: Blocks, parameters: Parameters) -> jax.Array:
    """Scalar: y log p + (n - y) log(1 - p), summed over ratings."""
    pairs = parameters.pairs(blocks.judges, blocks.items)[:, None]

    def add(carry, block):
        y, n, cell, active = block
        y, n = active * y, active * n
        x = cell + pairs
        # log p = -log1p(z) for x >= 0, and x less for x < 0.
        against = xp.where(x >= 0.0, n - y, y)
        total = n * xp.log1p(xp.exp(-xp.abs(x))) + against * xp.abs(x)
        return carry - total.sum(axis=1), None

    rows, _ = xp.scan(
        add,
        xp.zeros_like(pairs[:, 0]),
        (blocks.successes, blocks.trials, parameters.cell(), blocks.active),
    )
    return rows.sum()
