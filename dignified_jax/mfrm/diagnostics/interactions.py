"""Bias: what a pair of levels does beyond the sum of its parts, as judges that favour a model do.

Of every pair (a, b) of levels of two facets, with all estimates of the fit held,

    bias_ab solves   sum over the pair's ratings of (observed - expected at logit + bias_ab) = 0

its standard error is 1 / sqrt(information there), and t = bias / standard error with count - 1
degrees of freedom is FACETS' (its Table 14). Pairs with only successes or only failures have an
infinite bias, which no standard error describes; the test therefore is the score test,

    z = sum of residuals / sqrt(sum of variances)     at bias 0,

which needs no estimate, holds for every pair and has a normal distribution. q is the false
discovery rate of Benjamini & Hochberg (1995) over the table: of the pairs with q <= 0.05, no more
than 5% are expected to be false alarms.

The estimates that are held were fitted to the same ratings and have taken their share: with M
models and J judges, one pair's bias shows as (1 - 1/M) (1 - 1/J) of itself, and the rest as small
biases of the others the other way. The test is conservative, as it leaves that share in the
variance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_ranks,
    category_values,
    counts_of,
    logits,
    responses_of,
    weights_of,
)
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, FACETS, MIXED, UNRATED, Fit

MOST_STEPS = 100

# (A, B) biases -> the pairs' sums of residuals and of variances.
Moments = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Interactions:
    """All (A, B), for the levels of the two facets; NaN where a pair has no ratings.

    Attributes:
      count: number of judgments.
      observed: average score.
      expected: average expected score.
      bias: logits added to the pair's ratings: above 0 where scores are higher than expected.
      standard_error: of the bias.
      t: bias / standard error; NaN where extreme.
      z: of the score test.
      p: two-sided, of z.
      q: false discovery rate at which the pair would just be reported.
      extreme: int8 codes as in `mfrm.Extreme`.
    """

    count: jax.Array
    observed: jax.Array
    expected: jax.Array
    bias: jax.Array
    standard_error: jax.Array
    t: jax.Array
    z: jax.Array
    p: jax.Array
    q: jax.Array
    extreme: jax.Array


def interactions(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    facets: tuple[str, str] = ("judge", "model"),
    categories: Sequence[float] | None = None,
) -> Interactions:
    """Bias of every pair of levels of two facets.

    theta is held with the rest, but for ("model", "question"), whose interaction it is: there every
    model has its score on all questions.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      facets: two of "model", "question", "judge", "rubric": rows and columns of the result.
      categories: scores of an ordinal fit's categories, for averages; None for 0, 1, ...

    Raises:
      ValueError: for other facets, or ratings of another shape than the fit's.
    """
    if len(facets) != 2 or facets[0] == facets[1] or not set(facets) <= set(FACETS):
        raise ValueError(f"facets must be two different ones of {', '.join(FACETS)}, got {facets}")
    counts = counts_of(fit, successes, trials)
    return _interactions(fit, counts, category_values(fit, categories), facets=tuple(facets))


@xp.at_once
def _interactions(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    values: jax.Array | None,
    *,
    facets: tuple[str, str],
) -> Interactions:
    rows, columns = (FACETS.index(facet) for facet in facets)
    others = tuple(axis for axis in range(4) if axis not in (rows, columns))
    own = {"model", "question"} == set(facets)
    logit = logits(fit, xp.broadcast_to(fit.score[:, None], fit.quality.shape) if own else None)

    def sums(value: jax.Array) -> jax.Array:
        """The pair's axes, rows first."""
        total = value.sum(axis=others)
        return total if rows < columns else total.T

    def moments(bias: jax.Array) -> tuple[jax.Array, jax.Array]:
        shape = xp.expand_dims(bias if rows < columns else bias.T, others)
        responses = responses_of(fit, counts, logit + shape)
        known = responses.variance > 0
        return sums(xp.where(known, responses.residual, 0.0)), sums(responses.variance)

    at_fit = responses_of(fit, counts, logit, values)
    trials, successes = weights_of(counts), at_fit.observed
    most = trials if fit.step is None else trials * category_ranks(fit.step, trials.dtype)[:, -1]
    count = sums(trials)
    zero = xp.zeros_like(count)
    residual, variance = moments(zero)
    # A model without a finite score fits its ratings exactly: they tell nothing of any pair.
    finite = xp.isfinite(logit)
    telling = sums(xp.where(finite, most, 0.0))
    informed = (telling > 0) & (variance > 0)
    # What is missed is summed for itself: 0 exactly where nothing is, in single precision too.
    told, missed = (
        xp.where(informed, sums(xp.where(finite, values, 0.0)), sums(values))
        for values in (successes, most - successes)
    )
    extreme = xp.select(
        [count == 0, missed == 0, told == 0],
        [xp.int8(UNRATED), xp.int8(ALL_SUCCESSES), xp.int8(ALL_FAILURES)],
        xp.int8(MIXED),
    )
    bias = _solve(moments, zero, informed & (extreme == MIXED))
    information = moments(bias)[1]
    limit = xp.where(extreme == ALL_SUCCESSES, xp.inf, -xp.inf)
    bias = xp.where(extreme == MIXED, bias, limit)
    error = xp.where(extreme == MIXED, 1.0 / xp.sqrt(information), xp.inf)
    bias, error = (xp.where(informed, value, xp.nan) for value in (bias, error))
    z = xp.where(informed, residual / xp.sqrt(variance), xp.nan)
    p = 2.0 * xp.normal_tail(xp.abs(z))
    return Interactions(
        count=count,
        observed=sums(at_fit.score) / count,
        expected=sums(at_fit.expected_score) / count,
        bias=bias,
        standard_error=error,
        t=bias / error,
        z=z,
        p=p,
        q=false_discovery_rate(p),
        extreme=extreme,
    )


def _solve(moments: Moments, start: jax.Array, free: jax.Array) -> jax.Array:
    """Newton's method on every pair at once, its steps cut as in `ridge`: they always ascend."""
    tolerance = 1e-10 if start.dtype == xp.float64 else 1e-5

    def advance(state):
        bias, _, steps = state
        residual, information = moments(bias)
        step = xp.where(free, residual / information, 0.0)
        size = xp.abs(step)
        step = step * xp.where(size > 1.0, xp.log1p(size) / xp.maximum(size, 1.0), 1.0)
        return bias + step, size.max(), steps + 1

    def unfinished(state):
        return (state[1] > tolerance) & (state[2] < MOST_STEPS)

    state = (start, xp.asarray(xp.inf, start.dtype), xp.asarray(0))
    return xp.while_loop(unfinished, advance, state)[0]


@xp.at_once
def false_discovery_rate(p: jax.Array) -> jax.Array:
    """q-values of p-values of any shape; NaN stays NaN and is not counted as a test.

    The smallest p_(k) m / k over ranks k at or above each one's own, at most 1 (Benjamini &
    Hochberg, 1995).
    """
    flat = p.ravel()
    order = xp.argsort(flat)  # NaN last
    tests = (~xp.isnan(flat)).sum()
    rank = xp.arange(1, flat.size + 1)
    scaled = xp.where(rank <= tests, flat[order] * tests / rank, xp.inf)
    smallest = xp.minimum(xp.least_from(scaled), 1.0)
    q = xp.put(xp.zeros_like(flat), order, smallest)
    return xp.where(xp.isnan(flat), xp.nan, q).reshape(p.shape)
