"""How well a model describes the ratings of a level: mean squares and correlations.

With residual r, variance W and fourth central moment C of an observation (see `responses`),

    outfit  u = mean of r^2 / W          variance of u: sum (C / W^2 - 1) / count^2
    infit   v = sum r^2 / sum W          variance of v: sum (C - W^2) / (sum W)^2
    ZSTD    (v^(1/3) - 1) 3 / s + s / 3      with s the root of that variance

Wright & Masters, "Rating Scale Analysis" (1982), pages 99-101; the last line is the cube-root
transformation of Wilson & Hilferty (1931). Both have expectation 1, ZSTD is about standard normal.
FACETS and Winsteps print the same.

The point-measure correlation is Pearson's between a level's scores and their logits (in which the
level's own measure is a constant), and the expected one is what the model makes of it:

    r = S_xm / sqrt(S_xx S_mm)      expected  S_Em / sqrt((S_EE + sum of variances) S_mm)

(Linacre, Winsteps manual, "Point-measure correlation"), with scores a judgment, weighted by the
number of judgments. Models without a finite estimate are in the sums of scores only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import Responses


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FitStatistics:
    """Statistics of every level (or cell); NaN where the ratings say nothing.

    Attributes:
      count: number of judgments.
      observed: sum of scores.
      expected: sum of expected scores.
      score: sum of scores as they were given, where categories have scores of their own.
      expected_score: its expectation.
      infit: information-weighted mean square.
      infit_zstd: standardised.
      outfit: unweighted mean square; an observation of several judgments counts once.
      outfit_zstd: standardised.
      correlation: between scores and measures.
      expected_correlation: its value under the model.
    """

    count: jax.Array
    observed: jax.Array
    expected: jax.Array
    score: jax.Array
    expected_score: jax.Array
    infit: jax.Array
    infit_zstd: jax.Array
    outfit: jax.Array
    outfit_zstd: jax.Array
    correlation: jax.Array
    expected_correlation: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over observations; x a score and E, W its moments a judgment, n judgments, m a measure.

    But for the first five, of observations with variance: rated, by a model of finite estimate.
    """

    count: jax.Array
    observed: jax.Array
    expected: jax.Array
    score: jax.Array
    expected_score: jax.Array
    used: jax.Array  # observations
    square: jax.Array  # r^2
    information: jax.Array  # W
    standard_square: jax.Array  # r^2 / W
    infit_spread: jax.Array  # C - W^2
    outfit_spread: jax.Array  # C / W^2 - 1
    n: jax.Array
    x: jax.Array
    e: jax.Array
    m: jax.Array
    xx: jax.Array
    ee: jax.Array
    mm: jax.Array
    xm: jax.Array
    em: jax.Array
    w: jax.Array

    def over(self, axis: int) -> Sums:
        """Summed over an axis of what is left."""
        return jax.tree.map(lambda value: value.sum(axis=axis), self)


def sums(responses: Responses, axes: Sequence[int]) -> Sums:
    """Sums over axes of the responses."""
    used = responses.variance > 0
    safe = xp.where(used, responses.variance, 1.0)
    square = responses.residual**2
    n = xp.where(used, responses.weight, 1.0)
    x, e, w = responses.observed / n, responses.expected / n, responses.variance / n
    # Measures near their mean, so that their squares do not drown what they differ by.
    m = xp.where(used, responses.measure, 0.0)
    m = m - m.sum() / xp.maximum(used.sum(), 1)
    of_used = {
        "used": xp.ones_like(square),
        "square": square,
        "information": responses.variance,
        "standard_square": square / safe,
        "infit_spread": responses.fourth_moment - responses.variance**2,
        "outfit_spread": responses.fourth_moment / safe**2 - 1.0,
        "n": n,
        "x": n * x,
        "e": n * e,
        "m": n * m,
        "xx": n * x * x,
        "ee": n * e * e,
        "mm": n * m * m,
        "xm": n * x * m,
        "em": n * e * m,
        "w": w,
    }
    axes = tuple(axes)
    return Sums(
        count=responses.weight.sum(axis=axes),
        observed=responses.observed.sum(axis=axes),
        expected=responses.expected.sum(axis=axes),
        score=responses.score.sum(axis=axes),
        expected_score=responses.expected_score.sum(axis=axes),
        **{k: xp.where(used, value, 0.0).sum(axis=axes) for k, value in of_used.items()},
    )


def fit_statistics(sums: Sums) -> FitStatistics:
    """Statistics of levels or cells, from the sums over their observations."""
    infit = sums.square / sums.information
    outfit = sums.standard_square / sums.used

    def product(total: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
        """Sum of products of deviations from the means."""
        return total - one * other / sums.n

    scores = product(sums.xx, sums.x, sums.x)
    expected_scores = product(sums.ee, sums.e, sums.e) + sums.w
    measures = product(sums.mm, sums.m, sums.m)
    return FitStatistics(
        count=sums.count,
        observed=sums.observed,
        expected=sums.expected,
        score=sums.score,
        expected_score=sums.expected_score,
        infit=infit,
        infit_zstd=wilson_hilferty(infit, sums.infit_spread / sums.information**2),
        outfit=outfit,
        outfit_zstd=wilson_hilferty(outfit, sums.outfit_spread / sums.used**2),
        correlation=_correlation(product(sums.xm, sums.x, sums.m), scores, measures),
        expected_correlation=_correlation(
            product(sums.em, sums.e, sums.m), expected_scores, measures
        ),
    )


def wilson_hilferty(mean_square: jax.Array, variance: jax.Array) -> jax.Array:
    """A mean square of expectation 1 and the given variance, as a standard normal deviate."""
    # At p = 1/2 a single judgment's r^2 / W is 1 whatever it is: its variance of 0 tells nothing.
    deviation = xp.sqrt(xp.where(variance > 0, variance, xp.nan))
    return (xp.cbrt(mean_square) - 1.0) * 3.0 / deviation + deviation / 3.0


def _correlation(product: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """NaN where scores or measures do not vary."""
    spread = xp.where((one > 0) & (other > 0), one * other, xp.nan)
    return product / xp.sqrt(spread)
