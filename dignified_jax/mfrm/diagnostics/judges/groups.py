"""Groups of judges, such as humans and language models: how severe, and do they measure the same?

Severity: the difference of the mean severities of two groups. Severities sum to zero, so that the
errors of J of them are correlated by - 1 / (J - 1) where all are equally well known, and

    variance of sum c_j severity_j = J / (J - 1) sum c_j^2 se_j^2        for c that sum to zero

Where A judges are known, as anchored ones are, the others share the errors of the scale that these
fix: 1 / (A + 1) of their variance, where all are equally well known, so that with f the free ones

    variance = (A sum c_f^2 se_f^2 + (sum c_f)^2 mean se_f^2) / (A + 1)

On the scale of a group anchor of several judges it is taken from the information of the fit.

Construct: the ratings of each group are fitted alone, and the two sets of estimates correlated.
Both have errors, which draw their correlation towards 0; divided by the root of both reliabilities
it is the correlation of what the two groups measure (Spearman, 1904). Of the models' scores, R is
the reliability of separation, 1 - mean se^2 / variance; its interval is Fisher's, divided likewise.
Of answers within models, whose qualities are posterior means, R = variance / (variance + mean
se^2), and the interval is of percentiles over samples of the questions.

About 1 the groups differ in severity only; well below 1 they judge different things, and a common
scale hides it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import counts_of, weights_of
from dignified_jax.mfrm.diagnostics.group_anchors import sums_to_zero
from dignified_jax.mfrm.fit import fit as fit_ratings
from dignified_jax.mfrm.result import Fit, has_scores
from dignified_jax.mfrm.solver.information import covariances, information, model_of

REPLICATES = 500
# Two-sided normal quantile of the intervals.
LEVEL, QUANTILE = 0.95, 1.959964
# Errors below this share of the largest one are of rounding: the severity is known.
KNOWN = 1e-3


@dataclasses.dataclass(frozen=True)
class Construct:
    """Correlation of what two groups measure.

    Attributes:
      of: "models" or "answers".
      count: number of them that both groups have rated.
      correlation: of the estimates.
      reliability: of the first and of the second group's estimates.
      disattenuated: correlation freed of their errors; above 1 by chance.
      lower, upper: 95% interval, within -1 and 1.
    """

    of: str
    count: int
    correlation: float
    reliability: tuple[float, float]
    disattenuated: float
    lower: float
    upper: float


@dataclasses.dataclass(frozen=True)
class GroupComparison:
    """Two groups of judges.

    Attributes:
      first, second: names.
      severity: mean severities of the two, in logits.
      difference: of the first less the second.
      standard_error: of the difference.
      z: difference / standard error.
      p: two-sided.
      constructs: of models and of answers; empty where a group can't be fitted alone.
      message: why it can't; empty otherwise.
    """

    first: str
    second: str
    severity: tuple[float, float]
    difference: float
    standard_error: float
    z: float
    p: float
    constructs: tuple[Construct, ...]
    message: str


def compare_groups(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    groups: Mapping[str, Sequence[int]],
    seed: int = 0,
) -> list[GroupComparison]:
    """Compares every pair of groups that have no judge in common.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      groups: name -> numbers of judges.
      seed: of the samples of questions.

    Raises:
      ValueError: for ratings of another shape than the fit's, empty groups.
    """
    counts = counts_of(fit, successes, trials)
    judges = counts[0].shape[2]
    members = {name: np.unique(np.asarray(group, int)) for name, group in groups.items()}
    if any(not g.size or g[0] < 0 or g[-1] >= judges for g in members.values()):
        raise ValueError(f"groups must list judges by number, from 0 to {judges - 1}")
    pairs = [
        pair
        for pair in itertools.combinations(members, 2)
        if not np.intersect1d(*(members[name] for name in pair)).size
    ]
    needed = dict.fromkeys(name for pair in pairs for name in pair)
    alone = {name: _alone(fit, counts, members[name]) for name in needed}
    return [_compare(fit, counts, members, alone, *pair, seed) for pair in pairs]


@dataclasses.dataclass(frozen=True)
class _Estimates:
    """A group's own estimates, NaN where it has none: scores (M,), qualities (M, Q), errors."""

    score: np.ndarray
    score_error: np.ndarray
    quality: np.ndarray
    quality_error: np.ndarray


def _alone(fit: Fit, counts: tuple[jax.Array, ...], group: np.ndarray) -> _Estimates | str:
    """Estimates from the ratings of a group of judges, or why there are none."""
    own = [np.asarray(array)[:, :, group] for array in counts]
    weight = np.asarray(weights_of(tuple(own)))
    kept = [
        np.flatnonzero(weight.sum(axis=tuple(a for a in range(4) if a != axis)))
        for axis in range(4)
    ]
    own = [array[np.ix_(*kept)] for array in own]
    precision = fit.precision if fit.method == "ridge" else None
    options = {"center": fit.center, "method": fit.method, "precision": precision}
    try:
        found = fit_ratings(*own, model=model_of(fit), **options)
    except ValueError as error:
        return str(error).splitlines()[0][:200]
    if not has_scores(found):
        return found.message.splitlines()[0][:200]
    models, questions = kept[:2]
    score, score_error = (np.full(fit.score.shape, np.nan) for _ in range(2))
    quality, quality_error = (np.full(fit.quality.shape, np.nan) for _ in range(2))
    finite = np.isfinite(np.asarray(found.score))
    score[models] = np.where(finite, found.score, np.nan)
    score_error[models] = np.where(finite, found.standard_error.score, np.nan)
    rated = weight.sum(axis=(2, 3))[np.ix_(models, questions)] > 0
    inside = rated & finite[:, None]
    cells = np.ix_(models, questions)
    quality[cells] = np.where(inside, found.quality, np.nan)
    quality_error[cells] = np.where(inside, found.standard_error.quality, np.nan)
    return _Estimates(score, score_error, quality, quality_error)


def _compare(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    members: Mapping[str, np.ndarray],
    alone: Mapping[str, _Estimates | str],
    first: str,
    second: str,
    seed: int,
) -> GroupComparison:
    severity, error = np.asarray(fit.judge, float), np.asarray(fit.standard_error.judge, float)
    finite = np.isfinite(severity) & np.isfinite(error)
    weights = np.zeros(severity.size)
    means = []
    for name, sign in ((first, 1.0), (second, -1.0)):
        used = members[name][finite[members[name]]]
        means.append(float(severity[used].mean()) if used.size else math.nan)
        weights[used] = sign / max(used.size, 1)
    difference = means[0] - means[1]
    deviation = math.sqrt(max(_variance(fit, counts, weights, finite), 0.0))
    z = difference / deviation if deviation > 0 else math.nan
    constructs, message = [], ""
    failed = {name: alone[name] for name in (first, second) if isinstance(alone[name], str)}
    if failed:
        message = "; ".join(f"{name} alone: {text}" for name, text in failed.items())
    else:
        constructs = [_of_models(alone[first], alone[second])]
        constructs.append(_of_answers(alone[first], alone[second], seed))
    return GroupComparison(
        first=first,
        second=second,
        severity=(means[0], means[1]),
        difference=difference,
        standard_error=deviation,
        z=z,
        p=math.erfc(abs(z) / math.sqrt(2.0)) if math.isfinite(z) else math.nan,
        constructs=tuple(constructs),
        message=message,
    )


def _variance(
    fit: Fit, counts: tuple[jax.Array, ...], weights: np.ndarray, finite: np.ndarray
) -> float:
    """Variance of the sum of weights (J,) times the severities, of judges that are `finite`."""
    severity, error = (np.asarray(a, float)[finite] for a in (fit.judge, fit.standard_error.judge))
    free = error > KNOWN * error.max(initial=0.0)
    own, squares = weights[finite][free], error[free] ** 2
    held, number = int((~free).sum()), int(free.sum())
    if not number:
        return 0.0
    if held:
        return (held * (own**2 @ squares) + own.sum() ** 2 * squares.mean()) / (held + 1)
    if not sums_to_zero(severity):
        return float(_exact_variance(fit, counts, weights))
    number = max(number, 2)
    return own**2 @ squares * number / (number - 1)


@xp.at_once
def _exact_variance(
    fit: Fit, counts: tuple[jax.Array, ...], weights: jax.Array
) -> jax.typing.ArrayLike:
    """The same for weights that sum to zero, from the information of a fit without anchors."""
    return weights @ covariances(information(fit, counts, {}), "judge", weights).judge


def _of_models(one: _Estimates, other: _Estimates) -> Construct:
    """The construct by the models' scores."""
    both = np.isfinite(one.score) & np.isfinite(other.score)
    count = int(both.sum())
    reliability = []
    for group in (one, other):
        spread = group.score[both].var() if count > 1 else 0.0
        noise = (group.score_error[both] ** 2).mean() if count > 1 else 0.0
        reliability.append(float(max(1.0 - noise / spread, 0.0)) if spread > 0 else math.nan)
    r = _correlation(one.score[both], other.score[both])
    lower = upper = math.nan
    if count > 3 and abs(r) < 1:
        half = QUANTILE / math.sqrt(count - 3)
        lower, upper = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return _construct("models", count, r, reliability, lower, upper)


def _of_answers(one: _Estimates, other: _Estimates, seed: int) -> Construct:
    """The construct by the answers' qualities, less each model's mean."""
    both = np.isfinite(one.quality) & np.isfinite(other.quality)
    values = [_within(group.quality, both) for group in (one, other)]
    noise = [
        float((group.quality_error[both] ** 2).mean()) if both.any() else math.nan
        for group in (one, other)
    ]

    def figures(draw: np.ndarray) -> tuple[float, tuple[float, float]]:
        inside = both[:, draw]
        x, y = (value[:, draw][inside] for value in values)
        reliability = tuple(
            float(part.var() / (part.var() + error)) if part.size else math.nan
            for part, error in zip((x, y), noise, strict=True)
        )
        return _correlation(x, y), reliability

    questions = both.shape[1]
    r, reliability = figures(np.arange(questions))
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(REPLICATES):
        sample, factors = figures(rng.integers(questions, size=questions))
        samples.append(sample / _root(factors))
    samples = np.array([value for value in samples if math.isfinite(value)])
    lower = upper = math.nan
    if samples.size > 1:
        bounds = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        lower, upper = (float(value) * _root(reliability) for value in bounds)
    return _construct("answers", int(both.sum()), r, reliability, lower, upper)


def _construct(
    of: str, count: int, r: float, reliability: Sequence[float], lower: float, upper: float
) -> Construct:
    root = _root(reliability)
    lower, upper = (min(max(bound / root, -1.0), 1.0) for bound in (lower, upper))
    return Construct(of, count, r, (reliability[0], reliability[1]), r / root, lower, upper)


def _root(reliability: Sequence[float]) -> float:
    """Geometric mean of two reliabilities, NaN where one is 0 or not known."""
    product = reliability[0] * reliability[1]
    return math.sqrt(product) if product > 0 else math.nan


def _within(quality: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(M, Q) less each model's mean over the known ones."""
    number = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, quality, 0.0).sum(axis=1, keepdims=True) / number
    return np.where(known, quality - mean, 0.0)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN with fewer than 3 pairs or where one does not vary."""
    if one.size < 3 or not (one.std() > 0 and other.std() > 0):
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
