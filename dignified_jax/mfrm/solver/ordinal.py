"""Adjacent-category models of ordinal ratings: one pass over them, as `moments` does it.

With x the logit that the facets make and steps d_1 ... d_{K-1} that, like all parameters here, add
to it, a rating falls into category k = 0 ... K - 1 with

    log P(k) = k x + d_1 + ... + d_k - log Z

that is log P(k) / P(k - 1) = x + d_k. Steps are common to all items (the rating scale model,
Andrich 1978) or each item's own (partial credit, Masters 1982). With K = 2 it is the binary model.

The likelihood depends on n ratings of a kind through their sum y, and on all of an item's through
the numbers A_k of them at or above each k. With E and V the mean and variance of the category,

    residual = y - n E      weight = n V      skew = n E(X - E)^3 = d weight / d x
    of step k: A_k - sum n P(X >= k),   weights n Cov(X, X >= k) and n Cov(X >= k, X >= l)

written as sums of products of probabilities that do not cancel where one category is all but sure.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver.blocks import Blocks, incidence, pair_sums
from dignified_jax.mfrm.solver.moments import Moments, Parameters


def as_blocks(counts: jax.Array, common: bool, item_steps: jax.Array | None = None) -> Blocks:
    """From (M, Q, J, I, K) numbers of ratings in each category; `common`: one set of steps.

    Of item i the first item_steps[i] + 1 categories are in use; None for all. A rating with a count
    that is negative, fractional or not finite becomes NaN.
    """
    models, questions, judges, items, categories = counts.shape
    bad = ~((counts >= 0) & (counts < xp.inf) & (counts == xp.round(counts))).all(axis=-1)
    sums = (counts * xp.arange(categories, dtype=counts.dtype)).sum(axis=-1)
    sums = xp.where(bad, xp.nan, sums)
    successes, trials = (
        xp.moveaxis(array, 1, 3).reshape(models, judges * items, questions)
        for array in (sums, counts.sum(axis=-1))
    )
    by_category = counts.sum(axis=(1, 2))
    above = xp.cumsum(by_category[..., :0:-1], axis=-1)[..., ::-1]
    return Blocks(
        successes=successes,
        trials=trials,
        active=xp.ones(models, trials.dtype),
        judges=judges,
        items=items,
        above=above,
        item_steps=xp.full(items, categories - 1) if item_steps is None else item_steps,
        scales=1 if common else items,
    )


def moments(blocks: Blocks, parameters: Parameters, *, skew: bool = False) -> Moments:
    """Sums at the given parameters; `skew`: whether the skews are wanted as well."""
    matrix, scales = incidence(blocks), _scales(blocks)
    everything = xp.ones_like(matrix[:1])
    pairs = parameters.pairs(blocks.judges, blocks.items)[:, None]
    steps = _steps(blocks, parameters)
    highest = blocks.steps
    dtype = steps.dtype
    category = xp.arange(highest + 1, dtype=dtype)
    # (K - 1, K): whether category m is at or above k, and how far it is from k - 1/2.
    at_least = (category >= category[1:, None]).astype(dtype)
    apart = xp.abs(category - category[1:, None] + 0.5)

    def with_steps(main: jax.Array, by_step: jax.Array) -> jax.Array:
        """(R, Q) from judges' and items' (J + I, Q) and steps' (K - 1, J * I, Q)."""
        sets = xp.einsum("sp,kpq->skq", scales, by_step)
        return xp.concatenate([main, sets.reshape(-1, sets.shape[-1])])

    def add(carry, block):
        y, n, cell, active = block
        y, n = active * y, active * n
        p, _ = _probabilities(cell + pairs, steps)
        mean = xp.einsum("k,kpq->pq", category, p)
        missing = xp.einsum("k,kpq->pq", category[::-1], p)  # highest - mean
        residual = (y * missing - (highest * n - y) * mean) / highest
        off = category[:, None, None] - mean
        variance = (p * off**2).sum(axis=0)
        upper = xp.einsum("km,mpq->kpq", at_least, p)  # P(X >= k)
        lower = xp.einsum("km,mpq->kpq", 1.0 - at_least, p)
        # Around k - 1/2, which lies between the two parts: no term is negative.
        shared = lower * xp.einsum("km,mpq->kpq", at_least * apart, p)
        shared = n * (shared + upper * xp.einsum("km,mpq->kpq", (1.0 - at_least) * apart, p))
        weight = n * variance
        sums = [pair_sums(everything, residual)[0], with_steps(pair_sums(matrix, weight), shared)]
        if skew:
            third = n * (p * off**3).sum(axis=0)
            tilt = n * xp.einsum("km,mpq->kpq", at_least, p * (off**2 - variance))
            sums.append(with_steps(pair_sums(matrix, third), tilt))
        rows = (
            residual.sum(axis=1),
            weight.sum(axis=1),
            xp.einsum("kpq,pq->kp", upper, n),
            shared.sum(axis=2),
            xp.einsum("kpq,lpq->klp", n * upper, lower),  # used for k >= l
        )
        return jax.tree.map(xp.add, carry, rows), tuple(sums)

    nothing = xp.zeros_like(everything[0])
    by_step = xp.zeros((highest, nothing.size), dtype)
    carry, sums = xp.scan(
        add,
        (nothing, nothing, by_step, by_step, xp.zeros((highest, *by_step.shape), dtype)),
        (blocks.successes, blocks.trials, parameters.cell(), blocks.active),
    )
    residual, weight, expected, shared, between = carry
    step_residual = _above(blocks) - xp.einsum("sp,kp->sk", scales, expected)
    sets = blocks.scales * highest
    between = xp.einsum("klp,sp->skl", between, scales)
    between = xp.tril(between) + xp.tril(between, -1).swapaxes(1, 2)
    step_block = xp.einsum("skl,st->sktl", between, xp.eye(blocks.scales, dtype=dtype))
    rater_weight = sums[1]
    return Moments(
        residual=sums[0],
        rater_residual=xp.concatenate([matrix @ residual, step_residual.ravel()]),
        weight=rater_weight[:, : blocks.judges].sum(axis=1),
        rater_weight=rater_weight,
        pair_weight=weight.reshape(blocks.judges, blocks.items),
        rater_skew=sums[2] if skew else None,
        step_weight=xp.einsum("rp,kp,sp->rsk", matrix, shared, scales).reshape(len(matrix), sets),
        step_block=step_block.reshape(sets, sets),
    )


def cell_sums(
    blocks: Blocks, parameters: Parameters, cells: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(M, K, Q) log-likelihoods and (M, R, K, Q) raters' residuals, summed within each cell.

    Less what does not depend on the cell's logit: the sums of the steps that were taken, and of the
    steps' residuals the numbers of ratings at or above them, which `steps_taken` has in total.

    Args:
      blocks: the ratings.
      parameters: of which the raters' are used.
      cells: (M, K, Q) what their ratings share of the logit, at K points each.
    """
    matrix, scales = incidence(blocks), _scales(blocks)
    pairs = parameters.pairs(blocks.judges, blocks.items)[:, None]
    steps = _steps(blocks, parameters)
    highest = blocks.steps
    category = xp.arange(highest + 1, dtype=steps.dtype)
    at_least = (category >= category[1:, None]).astype(steps.dtype)
    points = cells.shape[1]

    def add(carry, block):
        y, n, cell, active = block
        y, n = (xp.tile(active * values, points) for values in (y, n))
        x = cell.ravel() + pairs
        p, log_total = _probabilities(x, steps)
        mean = xp.einsum("k,kpq->pq", category, p)
        missing = xp.einsum("k,kpq->pq", category[::-1], p)
        residual = (y * missing - (highest * n - y) * mean) / highest
        expected = n * xp.einsum("km,mpq->kpq", at_least, p)
        sets = xp.einsum("sp,kpq->skq", scales, expected).reshape(-1, x.shape[1])
        sums = xp.concatenate([pair_sums(matrix, residual), -sets])
        value = (y * x - n * log_total).sum(axis=0)
        return carry, (value.reshape(cell.shape), sums.reshape(-1, *cell.shape))

    rows = (blocks.successes, blocks.trials, cells, blocks.active)
    return xp.scan(add, None, rows)[1]


def mean_weights(
    blocks: Blocks, parameters: Parameters, cells: jax.Array, chances: jax.Array
) -> tuple[jax.Array, ...]:
    """See `moments.mean_weights`; then (J + I, T) of judges and items with steps, and (T, T)."""
    other = parameters.intercept[:, None] + parameters.question

    def at(point):
        cell, chance = point
        here = dataclasses.replace(parameters, theta=cell - other)
        scaled = dataclasses.replace(blocks, trials=blocks.trials * chance[:, None])
        sums = moments(scaled, here)
        by_rater, own = sums.rater_weight.sum(axis=2), sums.weight.sum(axis=1)
        return sums.pair_weight, by_rater, own, sums.step_weight, sums.step_block

    points = xp.each(at, (cells.swapaxes(0, 1), chances.swapaxes(0, 1)))
    return tuple(values.sum(axis=0) for values in points)


def steps_taken(blocks: Blocks) -> jax.Array:
    """(T,) numbers of ratings at or above each step, set by set."""
    return _above(blocks).ravel()


def log_likelihood(blocks: Blocks, parameters: Parameters) -> jax.Array:
    """Scalar: log P of every rating, summed, as of separate ratings (no multinomial factor)."""
    pairs = parameters.pairs(blocks.judges, blocks.items)[:, None]
    steps = _steps(blocks, parameters)

    def add(carry, block):
        y, n, cell, active = block
        x = cell + pairs
        _, log_total = _probabilities(x, steps)
        return carry + active * (y * x - n * log_total).sum(axis=1), None

    rows, _ = xp.scan(
        add,
        xp.zeros_like(pairs[:, 0]),
        (blocks.successes, blocks.trials, parameters.cell(), blocks.active),
    )
    sets = parameters.raters[blocks.judges + blocks.items :].reshape(blocks.scales, blocks.steps)
    return rows.sum() + (_above(blocks) * sets).sum()


def _probabilities(x: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(K, J * I, Q) of the categories, and log Z, from logits and (J * I, K - 1) steps."""
    sums = xp.pad(xp.cumsum(steps.T, axis=0), ((1, 0), (0, 0)))
    potential = xp.arange(len(sums), dtype=x.dtype)[:, None, None] * x + sums[:, :, None]
    highest = potential.max(axis=0)
    weights = xp.exp(potential - highest)
    total = weights.sum(axis=0)
    return weights / total, highest + xp.log(total)


def _scales(blocks: Blocks) -> jax.Array:
    """(scales, J * I) 0/1: the set of steps of each pair."""
    matrix = incidence(blocks)
    return xp.ones_like(matrix[:1]) if blocks.scales == 1 else matrix[blocks.judges :]


def _steps(blocks: Blocks, parameters: Parameters) -> jax.Array:
    """(J * I, K - 1); -inf, which leaves its category no probability, where an item has no step."""
    sets = parameters.raters[blocks.judges + blocks.items :].reshape(blocks.scales, blocks.steps)
    sets = xp.where(xp.arange(blocks.steps) < blocks.step_counts[:, None], sets, -xp.inf)
    by_item = xp.broadcast_to(sets, (blocks.items, blocks.steps))
    return xp.tile(by_item, (blocks.judges, 1))


def _above(blocks: Blocks) -> jax.Array:
    """(scales, K - 1) numbers of ratings at or above each category, of active models."""
    above = xp.einsum("mik,m->ik", blocks.above, blocks.active)
    return above.sum(axis=0, keepdims=True) if blocks.scales == 1 else above
