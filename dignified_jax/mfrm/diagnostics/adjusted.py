"""Finite measures for extreme levels, as FACETS and Winsteps report them.

A level with only the highest (lowest) scores has no finite estimate. Its adjusted measure is where
the expected sum of its scores is ADJUSTMENT below the highest possible (above the lowest), with all
other estimates held; its standard error is 1 / sqrt(information there). Ratings that involve
another level without a finite estimate are left out.
"""

from __future__ import annotations

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_chances,
    category_ranks,
    weights_of,
)
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, FACETS, Fit

ADJUSTMENT = 0.3
STEPS = 100
# Beyond this a logit is not told from infinity by single precision.
LIMIT = 40.0

Measures = dict[str, tuple[jax.Array, jax.Array]]


def adjusted_measures(fit: Fit, counts: tuple[jax.Array, ...]) -> Measures:
    """Facet ("model", "judge", "rubric") -> measures and standard errors, extreme ones adjusted."""
    found = {}
    for facet in ("model", "judge", "rubric"):
        name = "score" if facet == "model" else facet
        measure, error = getattr(fit, name), getattr(fit.standard_error, name)
        found[facet] = xp.either(
            xp.isinf(measure).any(),
            lambda m=measure, e=error, f=facet: _adjust(fit, counts, f, m, e),
            lambda m=measure, e=error: (m, e),
        )
    return found


def _adjust(
    fit: Fit, counts: tuple[jax.Array, ...], facet: str, measure: jax.Array, error: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(L,) measures and errors, the infinite ones adjusted; still so where nothing tells."""
    axis = FACETS.index(facet)
    others = tuple(a for a in range(4) if a != axis)
    sign = 1.0 if facet == "model" else -1.0
    quality = xp.zeros_like(fit.quality) if facet == "model" else fit.quality
    judge = xp.zeros_like(fit.judge) if facet == "judge" else fit.judge
    rubric = xp.zeros_like(fit.rubric) if facet == "rubric" else fit.rubric
    base = (quality - fit.question)[:, :, None, None] - judge[:, None] - rubric
    known = xp.isfinite(base)
    base = xp.where(known, base, 0.0)
    weight = xp.where(known, weights_of(counts), 0.0)
    shape = [1] * 4
    shape[axis] = -1

    def moments(value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(L,) expected sums of scores and their variances, at (L,) measures."""
        mean, variance = _mean_and_variance(fit, base + sign * value.reshape(shape))
        return (weight * mean).sum(axis=others), (weight * variance).sum(axis=others)

    most = (weight * _highest(fit)).sum(axis=others)
    gap = xp.minimum(ADJUSTMENT, most / 2)
    code = getattr(fit.extreme, facet)
    target = xp.where(code == ALL_SUCCESSES, most - gap, gap)

    def halve(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, low, high = state
        middle = (low + high) / 2
        above = sign * (moments(middle)[0] - target) > 0
        return step + 1, xp.where(above, low, middle), xp.where(above, middle, high)

    start = xp.asarray(0), xp.full_like(measure, -LIMIT), xp.full_like(measure, LIMIT)
    _, low, high = xp.while_loop(lambda state: state[0] < STEPS, halve, start)
    value = (low + high) / 2
    information = moments(value)[1]
    extreme = (code == ALL_SUCCESSES) | (code == ALL_FAILURES)
    told = xp.isinf(measure) & extreme & (most > 0)
    error = xp.where(told, 1.0 / xp.sqrt(information), error)
    return xp.where(told, value, measure), error


def _mean_and_variance(fit: Fit, logit: jax.Array) -> tuple[jax.Array, jax.Array]:
    if fit.step is None:
        p = xp.sigmoid(logit)
        return p, p * xp.sigmoid(-logit)
    rank = category_ranks(fit.step, logit.dtype)
    chance = category_chances(logit, fit.step)
    mean = (chance * rank).sum(axis=-1)
    return mean, (chance * (rank - mean[..., None]) ** 2).sum(axis=-1)


def _highest(fit: Fit) -> jax.Array | float:
    """The most that a rating counts, of each item."""
    return 1.0 if fit.step is None else category_ranks(fit.step, fit.score.dtype)[:, -1]
