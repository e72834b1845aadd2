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
number of judgments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.responses import Responses


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FitStatistics:
    """Of every level (or cell); NaN where the ratings say nothing.

    Attributes:
      count: number of judgments.
      observed: sum of scores.
      expected: sum of expected scores.
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
    infit: jax.Array
    infit_zstd: jax.Array
    outfit: jax.Array
    outfit_zstd: jax.Array
    correlation: jax.Array
    expected_correlation: jax.Array


def fit_statistics(responses: Responses, axes: Sequence[int]) -> FitStatistics:
    """Statistics summed over `axes` of the responses: all but a facet's own for its levels.

    Observations without variance (of models without a finite estimate) are in the sums of scores
    only.
    """
    axes = tuple(axes)
    infit, infit_zstd, outfit, outfit_zstd = mean_squares(
        responses.residual, responses.variance, responses.fourth_moment, axes
    )
    correlation, expected_correlation = correlations(responses, axes)
    return FitStatistics(
        count=responses.weight.sum(axis=axes),
        observed=responses.observed.sum(axis=axes),
        expected=responses.expected.sum(axis=axes),
        infit=infit,
        infit_zstd=infit_zstd,
        outfit=outfit,
        outfit_zstd=outfit_zstd,
        correlation=correlation,
        expected_correlation=expected_correlation,
    )


def mean_squares(
    residual: jax.Array,
    variance: jax.Array,
    fourth_moment: jax.Array,
    axes: tuple[int, ...],
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Infit, its ZSTD, outfit, its ZSTD; over observations of variance above 0."""
    used = variance > 0  # rated, by a model with a finite estimate
    safe = jnp.where(used, variance, 1.0)
    square = jnp.where(used, residual**2, 0.0)
    count = used.sum(axis=axes).astype(square.dtype)
    information = jnp.where(used, variance, 0.0).sum(axis=axes)
    infit = square.sum(axis=axes) / information
    outfit = (square / safe).sum(axis=axes) / count
    infit_variance = jnp.where(used, fourth_moment - variance**2, 0.0).sum(axis=axes)
    outfit_variance = jnp.where(used, fourth_moment / safe**2 - 1.0, 0.0).sum(axis=axes)
    return (
        infit,
        wilson_hilferty(infit, infit_variance / information**2),
        outfit,
        wilson_hilferty(outfit, outfit_variance / count**2),
    )


def wilson_hilferty(mean_square: jax.Array, variance: jax.Array) -> jax.Array:
    """A mean square of expectation 1 and the given variance, as a standard normal deviate."""
    # At p = 1/2 a single judgment's r^2 / W is 1 whatever it is: its variance of 0 tells nothing.
    deviation = jnp.sqrt(jnp.where(variance > 0, variance, jnp.nan))
    return (jnp.cbrt(mean_square) - 1.0) * 3.0 / deviation + deviation / 3.0


def correlations(responses: Responses, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Observed and expected point-measure correlation; NaN where scores or measures do not vary."""
    used = responses.variance > 0
    weight = jnp.where(used, responses.weight, 0.0)
    safe = jnp.where(used, weight, 1.0)
    score, expected, variance, measure = (
        jnp.where(used, value, 0.0)
        for value in (
            responses.observed / safe,
            responses.expected / safe,
            responses.variance / safe,
            responses.measure,
        )
    )
    total = weight.sum(axis=axes, keepdims=True)

    def deviation(value: jax.Array) -> jax.Array:
        return value - (weight * value).sum(axis=axes, keepdims=True) / total

    def product(one: jax.Array, other: jax.Array) -> jax.Array:
        return (weight * one * other).sum(axis=axes)

    score, expected, measure = map(deviation, (score, expected, measure))
    spread = product(measure, measure)
    expected_spread = product(expected, expected) + variance.sum(axis=axes)
    return (
        product(score, measure) / jnp.sqrt(product(score, score) * spread),
        product(expected, measure) / jnp.sqrt(expected_spread * spread),
    )
