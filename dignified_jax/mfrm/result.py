"""Arguments and results of a fit: small frozen dataclasses that JAX can trace, map and shard."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.mfrm import arrays as xp

FACETS = ("model", "question", "judge", "rubric")
SHOWN_LEVELS = 8
# What the one level of a facet that the ratings do not name is called.
UNNAMED = "(all)"


class Status(enum.IntEnum):
    """How a fit ended: value of `Fit.status`, a code that survives tracing.

    CONVERGED, VARIANCE_AT_BOUND, EXTREME_MODEL, EXTREME_LEVEL and CONFOUNDED_VARIANCES come with
    `converged`.
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
    EXTREME_LEVEL = 9
    CONFOUNDED_VARIANCES = 10
    UNDETERMINED_MODEL = 11


CONVERGED = (
    Status.CONVERGED,
    Status.VARIANCE_AT_BOUND,
    Status.EXTREME_MODEL,
    Status.EXTREME_LEVEL,
    Status.CONFOUNDED_VARIANCES,
)
# Those of fits whose estimates hold, but for models without any, whose scores are NaN.
USABLE = (*CONVERGED, Status.EMPTY_LEVEL, Status.UNDETERMINED_MODEL)

# What each means and asks of the reader.
MESSAGES: dict[Status, str] = {
    Status.CONVERGED: "converged",
    Status.MAX_ITERATIONS: (
        "stopped at max_iterations before the largest change of a logit was below the tolerance. "
        "Raise max_iterations; if that does not help, a facet level with only successes or only "
        "failures may be on its way to infinity (see `fit.extreme`)."
    ),
    Status.SINGULAR: (
        "the information matrix is not positive definite: some level is not determined by the "
        "ratings or by a prior. Look for levels with few or only extreme ratings (`fit.extreme`) "
        "and for subsets (`mfrm.subsets`), or give every level a prior with method 'ridge'."
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
        "converged, with an estimated variance at the edge of its range: the ratings "
        "show no spread (or an unbounded one) of {variances}. Read the other estimates as usual."
    ),
    Status.EXTREME_MODEL: (
        "converged, but a model has only successes or only failures (see `fit.extreme.model`): its "
        "score is infinite and tells nothing of the other facets; tables adjust it by 0.3 of "
        "a score. For a finite estimate add harder or easier ratings, or, with `mfrm.fit`, use "
        "center='grand', which shrinks all scores."
    ),
    Status.EXTREME_LEVEL: (
        "converged, but a judge or rubric item has only successes or only failures: its measure is "
        "infinite, its ratings tell nothing of the others, and severities are centred without it. "
        "Tables show a finite measure adjusted by 0.3 of a score; method 'ridge' gives it a prior."
    ),
    Status.CONFOUNDED_VARIANCES: (
        "converged, but no question was answered by two models: how much questions differ and how "
        "much answers do can't be told apart, and the precisions of theta and question are a "
        "split of their sum. Scores and severities are as good as ever."
    ),
    Status.UNOBSERVED_CATEGORY: (
        "all ratings that count are in one category: there is no step to estimate, and every "
        "estimate is NaN. Give ratings that differ, or look at `fit.extreme`."
    ),
    Status.UNDETERMINED_MODEL: (
        "nothing is left to say of a model's score, which is NaN: all its ratings are by judges, "
        "or on rubric items, with only successes or only failures, which tell nothing of it. Leave "
        "the model out, add ratings that differ, or use method 'ridge', whose priors keep judges "
        "and items finite."
    ),
    Status.BAD_ANCHORS: (
        "anchors hold an infinite value or no value at all for an anchored facet; every estimate "
        "is NaN. Give at least one finite level, NaN for the levels to estimate."
    ),
}

# Log precisions stop here: standard deviations between 1e-4 and 1e4, in logits.
LOG_PRECISION_BOUND = 18.4

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
    intercepts of the ridge method; those of the others, where questions are drawn from a
    population, are at its average: quality_mq = intercept_m + theta_mq - the mean of these
    questions.

    Attributes:
      theta: (M, Q) deviations; posterior modes with the ridge, else means.
      quality: (M, Q).
      judge: (J,) severities; they sum to zero unless anchored. Without the prior of the ridge, they
        are infinite for a judge with only successes or failures, who is not in the sum.
      rubric: (I,) difficulties; as above.
      question: (Q,) difficulties; as above.
      intercept: (M,); with center "grand" all equal, with "zero" all 0.
      score: (M,); NaN for a model of which the ratings tell nothing, never with `converged`.
      standard_error: the questions and rubric items are taken as fixed, and with laplace
        the variances as known; quadrature counts how well they are.
      score_covariance: (M, M).
      log_likelihood: of the ratings as separate yes/no judgments (no binomial coefficients), so
        that summing repeated judgments into trials does not change it. Ridge: at the estimates,
        without the penalty. Else the marginal one.
      precision: the priors' precisions; unless of the ridge the estimated ones, judge and rubric 0.
      extreme: which cells and levels have only successes, only failures or nothing.
      largest_change: of any logit, in the last iteration; with quadrature about what the next one
        would be.
      iterations: steps tried, each a pass over the ratings; with quadrature those after Laplace's,
        of several passes each.
      converged: bool.
      status: int32, a `Status`; `message` puts it in words.
      step: thresholds between adjacent categories, (1, K - 1) with a rating scale, (I, K - 1) with
        partial credit; a row sums to zero. Categories without ratings are closed up: entry k - 1
        is the step into category k from the one in use below it, NaN where k is not in use and
        -inf where nothing below it is. None for binary ratings.
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
        if np.ndim(self.status):
            codes = np.ravel(self.status).tolist()
            ordinal = self.step is not None
            return "\n".join(_sentence(Status(code), None, ordinal) for code in codes)
        return self.describe()

    def describe(self, labels: Mapping[str, Sequence[object]] | None = None) -> str:
        """The status of one fit, its extreme levels by label (facet -> labels) or number."""
        return self.sentence() + self.extremes(labels)

    def sentence(self) -> str:
        """The status of one fit, without its extreme levels."""
        return _sentence(Status(int(self.status)), self.precision, self.step is not None)

    def extremes(
        self,
        labels: Mapping[str, Sequence[object]] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> str:
        """Extreme levels as a sentence to add, or nothing; `names`: facet -> what it is called."""
        told = {"Extreme": extreme_levels(self.extreme, labels, names, self.step is not None)}
        if self.status == Status.UNDETERMINED_MODEL:
            without = np.flatnonzero(np.isnan(np.asarray(self.score))).tolist()
            told["Without a score"] = [_named("model", n, labels, names) for n in without]
        text = "" if self.sentence().endswith(".") or not any(told.values()) else "."
        for what, found in told.items():
            more = f", ... ({len(found)})" if len(found) > SHOWN_LEVELS else ""
            text += f" {what}: {', '.join(found[:SHOWN_LEVELS])}{more}." if found else ""
        return text


def has_scores(fit: Fit) -> bool:
    """Tells whether the scores of a fit that are not NaN hold, and there are any."""
    return int(fit.status) in USABLE and not np.isnan(np.asarray(fit.score)).all()


def _sentence(status: Status, precision: Precision | None, ordinal: bool) -> str:
    """A status in words; which variances are at their bound, where the precisions are known."""
    names = []
    for name, effect in (("theta", "answers (theta)"), ("question", "questions")):
        if precision is None or abs(np.log(float(getattr(precision, name)))) > (
            LOG_PRECISION_BOUND - 0.1
        ):
            names.append(effect)
    text = MESSAGES[status].replace("{variances}", " and ".join(names))
    if ordinal:
        text = text.replace("only successes or only failures", "only highest or only lowest scores")
    return text


def extreme_words(ordinal: bool) -> dict[int, str]:
    """The words for `ALL_SUCCESSES` and `ALL_FAILURES`, of yes/no or of ordinal scores."""
    if ordinal:
        return {ALL_SUCCESSES: "all highest", ALL_FAILURES: "all lowest"}
    return {ALL_SUCCESSES: "all successes", ALL_FAILURES: "all failures"}


def extreme_levels(
    extreme: Extreme,
    labels: Mapping[str, Sequence[object]] | None = None,
    names: Mapping[str, str] | None = None,
    ordinal: bool = False,
) -> list[str]:
    """Extreme models, judges and items: "judge 2 (all successes)"."""
    kinds = extreme_words(ordinal)
    return [
        f"{_named(facet, level, labels, names)} ({kinds[code]})"
        for facet in ("model", "judge", "rubric")
        for level, code in enumerate(np.asarray(getattr(extreme, facet)).tolist())
        if code in kinds
    ]


def level_name(label: object) -> object:
    """A label; "(all)" for the one level of a facet that the ratings do not name."""
    return UNNAMED if label is None else label


def _named(
    facet: str,
    level: int,
    labels: Mapping[str, Sequence[object]] | None,
    names: Mapping[str, str] | None,
) -> str:
    label = level if labels is None else clip(level_name(labels[facet][level]))
    return f"{(names or {}).get(facet, facet)} {label}"


def without_estimate(
    estimates: dict,
    model: jax.Array,
    infinite: jax.Array,
    unknown: jax.Array | None = None,
    limits: Mapping[str, jax.Array] | None = None,
) -> dict:
    """NaN for levels of which nothing is known, infinity for those without a finite estimate.

    Args:
      estimates: of `Fit`, by name.
      model: (M,) codes.
      infinite: (M,) bool.
      unknown: (M,) bool; None for those without ratings.
      limits: facet -> (L,) what to put in the place of estimates, 0 to leave them.
    """
    unknown = model == UNRATED if unknown is None else unknown

    def mark(value: jax.Array, limit: jax.Array | float) -> jax.Array:
        column = (-1, *[1] * (value.ndim - 1))
        limit = xp.broadcast_to(limit, model.shape).reshape(column)
        value = xp.where(infinite.reshape(column), limit, value)
        return xp.where(unknown.reshape(column), xp.nan, value)

    sign = xp.where(model == ALL_SUCCESSES, xp.inf, -xp.inf)
    names = ("quality", "intercept", "score")
    marked = {name: mark(estimates[name], sign) for name in names}
    marked["theta"] = mark(estimates["theta"], 0.0)
    standard_error = estimates["standard_error"]
    changed = {name: mark(getattr(standard_error, name), xp.inf) for name in names}
    for facet, limit in (limits or {}).items():
        marked[facet] = xp.where(limit == 0, estimates[facet], limit)
        error = xp.where(xp.isinf(limit), xp.inf, limit)
        changed[facet] = xp.where(limit == 0, getattr(standard_error, facet), error)
    covariance = xp.where(infinite[:, None] | infinite, 0.0, estimates["score_covariance"])
    covariance = covariance + xp.diag(xp.where(infinite, xp.inf, 0.0))
    covariance = xp.where(unknown[:, None] | unknown, xp.nan, covariance)
    return (
        estimates
        | marked
        | {
            "standard_error": dataclasses.replace(standard_error, **changed),
            "score_covariance": covariance,
        }
    )
