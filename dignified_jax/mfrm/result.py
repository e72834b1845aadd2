"""What a fit takes and returns: small frozen dataclasses that JAX can trace, map and shard."""

from __future__ import annotations

import dataclasses
import enum

import jax
import jax.numpy as jnp
import numpy as np

FACETS = ("model", "question", "judge", "rubric")


class Status(enum.IntEnum):
    """How a fit ended: value of `Fit.status`, a code that survives tracing.

    CONVERGED, VARIANCE_AT_BOUND, EXTREME_MODEL come with `converged`.
    """

    CONVERGED = 0
    MAX_ITERATIONS = 1
    SINGULAR = 2
    BAD_COUNTS = 3
    EMPTY_LEVEL = 4
    VARIANCE_AT_BOUND = 5
    BAD_ANCHORS = 6
    EXTREME_MODEL = 7
    UNOBSERVED_CATEGORY = 8


CONVERGED = (Status.CONVERGED, Status.VARIANCE_AT_BOUND, Status.EXTREME_MODEL)

# What each means and asks of the reader.
MESSAGES: dict[Status, str] = {
    Status.CONVERGED: "converged",
    Status.MAX_ITERATIONS: (
        "stopped at max_iterations before the largest change of a logit was below the tolerance. "
        "Raise max_iterations; if that does not help, a facet level with only successes or only "
        "failures is being pushed to infinity (see `fit.extreme`): raise its precision."
    ),
    Status.SINGULAR: (
        "the information matrix is not positive definite: some level is not determined by the "
        "ratings or by a prior. Raise the precisions, or look for levels with few or only extreme "
        "ratings (`fit.extreme`) and for subsets (`mfrm.subsets`)."
    ),
    Status.BAD_COUNTS: (
        "successes or trials hold a value that is negative, fractional, not finite, or successes "
        "exceed trials; every estimate is NaN. Call `mfrm.fit` outside jax.jit to see which one."
    ),
    Status.EMPTY_LEVEL: (
        "a model, question, judge or rubric item has no ratings (UNRATED in `fit.extreme`): its "
        "estimates are its prior's mean, and NaN for a model. Drop the level, or disregard it."
    ),
    Status.VARIANCE_AT_BOUND: (
        "converged, with a variance of the laplace method at the edge of its range: the ratings "
        "show no spread (or an unbounded one) of that effect. Read the other estimates as usual."
    ),
    Status.EXTREME_MODEL: (
        "converged, but a model has only successes or only failures (see `fit.extreme.model`): its "
        "score is infinite and tells nothing of the other facets. For a finite one use "
        "center='grand', which shrinks all scores, or add harder or easier ratings."
    ),
    Status.UNOBSERVED_CATEGORY: (
        "a category was never given (with partial credit: on some rubric item), so its steps have "
        "no finite estimate; every estimate is NaN. Merge it with its neighbour; `mfrm.fit` "
        "outside jax.jit says which one."
    ),
    Status.BAD_ANCHORS: (
        "anchors hold an infinite value or no value at all for an anchored facet; every estimate "
        "is NaN. Give at least one finite level, NaN for the levels to estimate."
    ),
}

# Values of `Extreme`.
MIXED, ALL_SUCCESSES, ALL_FAILURES, UNRATED = 0, 1, -1, 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Precision:
    """Inverse variances of the Gaussian priors (ridge penalties), scalars.

    Attributes:
      theta: of theta_mq, the deviation of a model's quality on a question; must be positive.
      judge: of the judges' severities, at least 0.
      rubric: of the rubric items' difficulties, at least 0.
      question: of the questions' difficulties, at least 0.
    """

    theta: jax.Array | float = 1.0
    judge: jax.Array | float = 1.0
    rubric: jax.Array | float = 1.0
    question: jax.Array | float = 1.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StandardErrors:
    """Square roots of the diagonal of the inverse information; shapes as in `Fit`."""

    theta: jax.Array
    quality: jax.Array
    judge: jax.Array
    rubric: jax.Array
    question: jax.Array
    intercept: jax.Array
    score: jax.Array
    step: jax.Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Extreme:
    """int8 codes: MIXED 0, ALL_SUCCESSES 1, ALL_FAILURES -1, UNRATED 2.

    The ratings give an extreme cell or level no finite estimate: its prior alone does.
    """

    cell: jax.Array  # (M, Q)
    model: jax.Array  # (M,)
    question: jax.Array  # (Q,)
    judge: jax.Array  # (J,)
    rubric: jax.Array  # (I,)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fit:
    """Estimates in logits, for M models, Q questions, J judges and I rubric items.

        logit P(success) = quality_mq - judge_j - rubric_i - question_q     (binary)
        log P(k) / P(k - 1) = the same - step_k                              (ordinal)
        quality_mq = intercept_m + theta_mq            score_m = mean_q quality_mq

    Qualities and scores are at the average judge, rubric item and question OF THESE. So are the
    intercepts of the ridge method; those of laplace, where questions are drawn from a population,
    are at its average: quality_mq = intercept_m + theta_mq - the mean of these questions.

    Attributes:
      theta: (M, Q) deviations; posterior modes with the ridge, means with laplace.
      quality: (M, Q).
      judge: (J,) severities; they sum to zero unless anchored.
      rubric: (I,) difficulties; as above.
      question: (Q,) difficulties; as above.
      intercept: (M,); with center "grand" all equal, with "zero" all 0.
      score: (M,).
      standard_error: the questions and rubric items are taken as fixed, and the variances of the
        laplace method as known.
      score_covariance: (M, M).
      log_likelihood: of the ratings as separate yes/no judgments (no binomial coefficients), so
        that summing repeated judgments into trials does not change it. Ridge: at the estimates,
        without the penalty. Laplace: the marginal one.
      precision: the priors' precisions; with laplace the estimated ones, judge and rubric 0.
      extreme: which cells and levels have only successes, only failures or nothing.
      largest_change: of any logit, in the last iteration.
      iterations: steps tried, each a pass over the ratings.
      converged: bool.
      status: int32, a `Status`; `message` puts it in words.
      step: thresholds between adjacent categories, (1, K - 1) with a rating scale, (I, K - 1) with
        partial credit; a row sums to zero. None for binary ratings.
      center, method: how the fit was made.
    """

    theta: jax.Array
    quality: jax.Array
    judge: jax.Array
    rubric: jax.Array
    question: jax.Array
    intercept: jax.Array
    score: jax.Array
    standard_error: StandardErrors
    score_covariance: jax.Array
    log_likelihood: jax.Array
    precision: Precision
    extreme: Extreme
    largest_change: jax.Array
    iterations: jax.Array
    converged: jax.Array
    status: jax.Array
    step: jax.Array | None = None
    center: str = dataclasses.field(default="model", metadata={"static": True})
    method: str = dataclasses.field(default="ridge", metadata={"static": True})

    @property
    def message(self) -> str:
        """The status in words, with its remedy; one line a fit where fits were mapped over."""
        codes = np.asarray(self.status).ravel()
        return "\n".join(MESSAGES[Status(int(code))] for code in codes)


def without_estimate(estimates: dict, model: jax.Array, infinite: jax.Array) -> dict:
    """NaN for models of which nothing is known, infinity for those without a finite estimate."""
    unknown = model == UNRATED

    def mark(value: jax.Array, limit: jax.Array | float) -> jax.Array:
        column = (-1, *[1] * (value.ndim - 1))
        limit = jnp.broadcast_to(limit, model.shape).reshape(column)
        value = jnp.where(infinite.reshape(column), limit, value)
        return jnp.where(unknown.reshape(column), jnp.nan, value)

    sign = jnp.where(model == ALL_SUCCESSES, jnp.inf, -jnp.inf)
    names = ("quality", "intercept", "score")
    marked = {name: mark(estimates[name], sign) for name in names}
    marked["theta"] = mark(estimates["theta"], 0.0)
    standard_error = estimates["standard_error"]
    changed = {name: mark(getattr(standard_error, name), jnp.inf) for name in names}
    covariance = jnp.where(infinite[:, None] | infinite, 0.0, estimates["score_covariance"])
    covariance = covariance + jnp.diag(jnp.where(infinite, jnp.inf, 0.0))
    covariance = jnp.where(unknown[:, None] | unknown, jnp.nan, covariance)
    return (
        estimates
        | marked
        | {
            "standard_error": dataclasses.replace(standard_error, **changed),
            "score_covariance": covariance,
        }
    )
