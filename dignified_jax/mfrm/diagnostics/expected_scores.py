"""What a model expects of every rating: all that fit statistics and bias tables need to know.

An observation is the sum of the scores of n judgments of one model's answer to one question by one
judge on one rubric item. For yes/no judgments of success probability p, with q = 1 - p, that sum is
binomial:

    E = n p        W = n p q        C = n p q (1 + 3 (n - 2) p q)

Of ratings in categories 0 ... K - 1 with mean e, variance v and fourth central moment c each

    E = n e        W = n v          C = n c + 3 n (n - 1) v^2
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.result import Fit


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
      measure: the logit that the expectation comes from.
    """

    observed: jax.Array
    expected: jax.Array
    residual: jax.Array
    variance: jax.Array
    fourth_moment: jax.Array
    weight: jax.Array
    measure: jax.Array


def counts_of(
    fit: Fit, successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
    """Successes and trials as `fit` reads them.

    Raises:
      ValueError: if the fit is ordinal, or they are not counts, or not of the shape of the fit's
        ratings.
    """
    if fit.step is not None:
        raise ValueError("this is for binary and binomial fits; found a fit of ordered categories")
    successes, trials = rating_counts.as_counts(successes, trials)
    shape = (*fit.quality.shape, *fit.judge.shape, *fit.rubric.shape)
    if successes.shape != shape:
        raise ValueError(f"the fit is of ratings of shape {shape}, found {successes.shape}")
    return successes, trials


def category_counts_of(fit: Fit, counts: jax.typing.ArrayLike) -> jax.Array:
    """(model, question, judge, rubric, category) counts as `fit` reads them.

    Raises:
      ValueError: if they are not counts, or not of the shape of the fit's ratings.
    """
    shape = (*fit.quality.shape, *fit.judge.shape, *fit.rubric.shape, fit.step.shape[-1] + 1)
    if jnp.shape(counts) != shape:
        raise ValueError(f"the fit is of ratings of shape {shape}, found {jnp.shape(counts)}")
    # Both ordinal models read them alike.
    return rating_counts.as_counts(counts, None, "partial_credit")[0]


def logits(fit: Fit, quality: jax.Array | None = None) -> jax.Array:
    """(M, Q, J, I) logits of a fit, with other qualities (M, Q) where given."""
    quality = fit.quality if quality is None else quality
    return (quality - fit.question)[:, :, None, None] - fit.judge[:, None] - fit.rubric


def binomial(successes: jax.Array, trials: jax.Array, logit: jax.Array) -> Responses:
    """Moments of counts of successes; arrays of one shape and floating type."""
    # A model without ratings has no logit; its place must not spoil the sums of the others.
    logit = jnp.where(trials > 0, logit, 0.0)
    z = jnp.exp(-jnp.abs(logit))
    near = 1.0 / (1.0 + z)  # the larger of p and 1 - p
    far = z * near
    positive = logit >= 0.0
    p, q = jnp.where(positive, near, far), jnp.where(positive, far, near)
    single = near * far
    return Responses(
        observed=successes,
        expected=trials * p,
        residual=successes * q - (trials - successes) * p,
        variance=trials * single,
        fourth_moment=trials * single * (1.0 + 3.0 * (trials - 2.0) * single),
        weight=trials,
        measure=logit,
    )


def ordinal(counts: jax.Array, logit: jax.Array, step: jax.Array) -> Responses:
    """Moments of sums of categories.

    Args:
      counts: (M, Q, J, I, K) numbers of ratings in each category, floating.
      logit: (M, Q, J, I) of the facets, without steps.
      step: (1, K - 1) or (I, K - 1) thresholds.
    """
    weight = counts.sum(axis=-1)
    logit = jnp.where(weight > 0, logit, 0.0)
    chance = category_chances(logit, step)
    category = jnp.arange(counts.shape[-1], dtype=counts.dtype)
    mean = (chance * category).sum(axis=-1)
    away = category - mean[..., None]
    variance, fourth = ((chance * away**power).sum(axis=-1) for power in (2, 4))
    return Responses(
        observed=(counts * category).sum(axis=-1),
        expected=weight * mean,
        residual=(counts * away).sum(axis=-1),
        variance=weight * variance,
        fourth_moment=weight * fourth + 3.0 * weight * (weight - 1.0) * variance**2,
        weight=weight,
        measure=logit,
    )


def category_chances(logit: jax.Array, step: jax.Array) -> jax.Array:
    """(..., I, K) probabilities of the categories from (..., I) logits; steps as for `ordinal`."""
    passed = jnp.pad(jnp.cumsum(step, axis=-1), ((0, 0), (1, 0)))
    category = jnp.arange(passed.shape[-1], dtype=logit.dtype)
    return jax.nn.softmax(logit[..., None] * category - passed, axis=-1)
