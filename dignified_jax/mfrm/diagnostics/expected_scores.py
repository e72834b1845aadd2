"""Moments of every rating under a model: all that fit statistics and bias tables need to know.

An observation is the sum of the scores of n judgments of one model's answer to one question by one
judge on one rubric item. For yes/no judgments of success probability p, with q = 1 - p, that sum is
binomial:

    E = n p        W = n p q        C = n p q (1 + 3 (n - 2) p q)

Of ratings in categories 0 ... K - 1 (those not in use are closed up, see `Fit.step`) with mean e,
variance v and fourth central moment c each

    E = n e        W = n v          C = n c + 3 n (n - 1) v^2
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.solver.extremes import categories_in_use


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Responses:
    """Observations and their moments under a model; all (model, question, judge, rubric).

    Attributes:
      observed: sum of the scores.
      expected: E, its expectation.
      residual: observed - expected, from a formula in which nothing cancels.
      variance: W; 0 where a model has no finite estimate.
      fourth_moment: C, the fourth central moment.
      weight: n, the number of judgments; 0 where not rated.
      score: sum of the scores as they were given, where categories have scores of their own.
      expected_score: its expectation.
      measure: the logit that the expectation comes from.
    """

    observed: jax.Array
    expected: jax.Array
    residual: jax.Array
    variance: jax.Array
    fourth_moment: jax.Array
    weight: jax.Array
    score: jax.Array
    expected_score: jax.Array
    measure: jax.Array


def counts_of(
    fit: Fit, successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None
) -> tuple[jax.Array, ...]:
    """(successes, trials) as `fit` reads them; of ordinal fits (counts by category,).

    Raises:
      ValueError: if they are not counts, or not of the shape of the fit's ratings.
    """
    shape = (*fit.quality.shape, *fit.judge.shape, *fit.rubric.shape)
    if fit.step is not None:
        if trials is not None:
            raise ValueError("trials has no meaning with ordered categories")
        shape = (*shape, fit.step.shape[-1] + 1)
    if np.shape(successes) != shape:
        raise ValueError(f"the fit is of ratings of shape {shape}, found {np.shape(successes)}")
    # Both ordinal models read them alike.
    kind = "binomial" if fit.step is None else "partial_credit"
    with xp.on_host(not xp.traced((fit, successes, trials))):
        return rating_counts.as_counts(successes, trials, kind)


def category_values(fit: Fit, categories: Sequence[float] | None) -> jax.Array | None:
    """(K,) scores of an ordinal fit's categories, 0, 1, ... if not given; None of binary fits.

    Raises:
      ValueError: for another number of scores than categories.
    """
    if fit.step is None:
        return None
    size = fit.step.shape[-1] + 1
    values = np.asarray(range(size) if categories is None else categories, float)
    if values.shape != (size,):
        raise ValueError(f"categories must be the scores of {size}, found {values.shape}")
    return values


def responses_of(
    fit: Fit, counts: tuple[jax.Array, ...], logit: jax.Array, values: jax.Array | None = None
) -> Responses:
    """Moments of the ratings at (M, Q, J, I) logits; counts as from `counts_of`.

    `values` (K,) are the scores of an ordinal fit's categories; None for 0, 1, ...
    """
    if fit.step is None:
        return binomial(*counts, logit)
    return ordinal(*counts, logit, fit.step, values)


@xp.at_once
def fitted_responses(
    fit: Fit, counts: tuple[jax.Array, ...], values: jax.Array | None = None
) -> Responses:
    """Moments of the ratings at the estimates of a fit: one program that diagnostics share."""
    return responses_of(fit, counts, logits(fit), values)


@xp.at_once
def responses_at(
    fit: Fit, counts: tuple[jax.Array, ...], logit: jax.Array, values: jax.Array | None = None
) -> Responses:
    """Moments of the ratings at other logits (M, Q, J, I)."""
    return responses_of(fit, counts, logit, values)


def weights_of(counts: tuple[jax.Array, ...]) -> jax.Array:
    """(M, Q, J, I) numbers of judgments."""
    return counts[1] if len(counts) == 2 else counts[0].sum(axis=-1)


@xp.at_once
def logits(fit: Fit, quality: jax.Array | None = None) -> jax.Array:
    """(M, Q, J, I) logits of a fit, with other qualities (M, Q) where given.

    Infinite ones are of levels that were taken out as extreme: where two meet, the model's counts.
    """
    quality = fit.quality if quality is None else quality
    cell = (quality - fit.question)[:, :, None, None]
    judge = fit.judge[:, None]
    raters = xp.where(xp.isinf(judge), judge, judge + fit.rubric)
    return xp.where(xp.isinf(cell), cell, cell - raters)


def binomial(successes: jax.Array, trials: jax.Array, logit: jax.Array) -> Responses:
    """Moments of counts of successes; arrays of one shape and floating type."""
    # A model without ratings has no logit; its place must not spoil the sums of the others.
    logit = xp.where(trials > 0, logit, 0.0)
    z = xp.exp(-xp.abs(logit))
    near = 1.0 / (1.0 + z)  # the larger of p and 1 - p
    far = z * near
    positive = logit >= 0.0
    p, q = xp.where(positive, near, far), xp.where(positive, far, near)
    single = near * far
    # Levels without a finite estimate fit their ratings exactly.
    finite = xp.isfinite(logit)
    expected = xp.where(finite, trials * p, successes)
    return Responses(
        observed=successes,
        expected=expected,
        residual=xp.where(finite, successes * q - (trials - successes) * p, 0.0),
        variance=trials * single,
        fourth_moment=trials * single * (1.0 + 3.0 * (trials - 2.0) * single),
        weight=trials,
        score=successes,
        expected_score=expected,
        measure=logit,
    )


def ordinal(
    counts: jax.Array, logit: jax.Array, step: jax.Array, values: jax.Array | None = None
) -> Responses:
    """Moments of sums of categories.

    Args:
      counts: (M, Q, J, I, K) numbers of ratings in each category, floating.
      logit: (M, Q, J, I) of the facets, without steps.
      step: (1, K - 1) or (I, K - 1) thresholds.
      values: (K,) scores of the categories; None for 0, 1, ...
    """
    if values is None:
        values = xp.arange(counts.shape[-1], dtype=counts.dtype)
    weight = counts.sum(axis=-1)
    logit = xp.where(weight > 0, logit, 0.0)
    finite = xp.isfinite(logit)
    chance = category_chances(xp.where(finite, logit, 0.0), step)
    category = category_ranks(step, counts.dtype)
    mean = (chance * category).sum(axis=-1)
    away = category - mean[..., None]
    variance, fourth = ((chance * away**power).sum(axis=-1) for power in (2, 4))
    observed, score = ((counts * worth).sum(axis=-1) for worth in (category, values))
    # Levels without a finite estimate fit their ratings exactly.
    variance, fourth = (xp.where(finite, value, 0.0) for value in (variance, fourth))
    return Responses(
        observed=observed,
        expected=xp.where(finite, weight * mean, observed),
        residual=xp.where(finite, (counts * away).sum(axis=-1), 0.0),
        variance=weight * variance,
        fourth_moment=weight * fourth + 3.0 * weight * (weight - 1.0) * variance**2,
        weight=weight,
        score=score,
        expected_score=xp.where(finite, weight * (chance * values).sum(axis=-1), score),
        measure=logit,
    )


def category_chances(logit: jax.Array, step: jax.Array) -> jax.Array:
    """(..., I, K) probabilities of the categories from (..., I) logits; steps as for `ordinal`.

    Categories that are not in use have none (see `Fit.step`).
    """
    passed = xp.pad(xp.cumsum(xp.where(xp.isfinite(step), step, 0.0), -1), ((0, 0), (1, 0)))
    potential = logit[..., None] * category_ranks(step, logit.dtype) - passed
    return xp.softmax(xp.where(categories_in_use(step), potential, -xp.inf))


def category_ranks(step: jax.Array, dtype: xp.dtype) -> jax.Array:
    """(1, K) or (I, K) what each category counts: its place, from 0, among those in use."""
    return xp.maximum(xp.cumsum(categories_in_use(step), axis=-1) - 1, 0).astype(dtype)
