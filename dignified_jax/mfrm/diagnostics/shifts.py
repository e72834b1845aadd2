"""Raw means against calibrated scores: how much of a shift is gauge, and how much correction.

A model's raw measure is the logit at which the expected score is its plain mean: of yes/no ratings
the mean's logit, of ordered categories by the fitted steps (the mean over rubric items of their
expectations, which FACETS calls fair average). The rest of the way to its calibrated score is

    score - raw = gauge + panel + curve

    gauge   mean severity of all ratings' judges, items and questions: the same for every model.
            It is not 0 because facets are centred unweighted, each level once, and some levels
            rate more often than others; it compares nothing.
    panel   mean severity that the model's own ratings met, less the gauge: the correction for a
            harsher or milder panel, 0 where all models were rated alike.
    curve   what is left: a mean over answers, judges and items of a curved function, which draws
            raw means towards the middle. It stretches the scale and seldom reorders. Ratings by
            judges or items without a finite measure, which are in raw means only, show here too.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import counts_of, weights_of
from dignified_jax.mfrm.diagnostics.scale import category_curves
from dignified_jax.mfrm.result import Fit

# Raw measures are looked for within this many logits, on this many places.
REACH, PLACES = 30.0, 6001


@dataclasses.dataclass(frozen=True)
class Shifts:
    """All (M,) but gauge, in logits; NaN for models without a finite score.

    Attributes:
      raw: logit of the plain mean.
      score: calibrated.
      gauge: scalar.
      panel: correction for the ratings that the model met.
      curve: correction for averaging on a curved scale.
      rank_raw: rank by plain mean, 1 the best, among models of finite score.
      rank: rank by calibrated score.
    """

    raw: np.ndarray
    score: np.ndarray
    gauge: float
    panel: np.ndarray
    curve: np.ndarray
    rank_raw: np.ndarray
    rank: np.ndarray


def shifts(
    fit: Fit, successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None = None
) -> Shifts:
    """Parts of the way from raw means to calibrated scores.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.

    Raises:
      ValueError: for ratings of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    weight = np.asarray(weights_of(counts), float)
    judge, rubric, question = (
        np.asarray(values, float) for values in (fit.judge, fit.rubric, fit.question)
    )
    with np.errstate(invalid="ignore"):  # a judge and an item without an estimate
        severity = question[:, None, None] + judge[:, None] + rubric
    finite = np.isfinite(severity)
    inside = weight * finite
    severity = np.where(finite, severity, 0.0)
    by_model = (inside * severity).sum(axis=(1, 2, 3))
    return shifts_of(fit, plain_means(fit, counts), by_model, inside.sum(axis=(1, 2, 3)))


def shifts_of(fit: Fit, mean: np.ndarray, by_model: np.ndarray, number: np.ndarray) -> Shifts:
    """Shifts from sums by model.

    Args:
      fit: whose scores they lead to.
      mean: (M,) plain means, as shares of the highest score.
      by_model: (M,) sums of the severities that ratings met.
      number: (M,) numbers of these ratings.
    """
    score = np.asarray(fit.score, float)
    known = np.isfinite(score)
    gauge = by_model[known].sum() / number[known].sum() if known.any() else float("nan")
    raw = np.where(known, measure_at(fit, mean), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        panel = np.where(known, by_model / number - gauge, np.nan)
    score = np.where(known, score, np.nan)
    return Shifts(
        raw=raw,
        score=score,
        gauge=float(gauge),
        panel=panel,
        curve=score - raw - gauge - panel,
        rank_raw=_ranks(np.where(known, mean, np.nan)),
        rank=_ranks(score),
    )


def plain_means(fit: Fit, counts: tuple[jax.Array, ...]) -> np.ndarray:
    """(M,) mean score of each model's ratings, as a share of the highest category's number."""
    arrays = [np.asarray(array, float) for array in counts]
    if fit.step is None:
        total, number = (array.sum(axis=(1, 2, 3)) for array in arrays)
    else:
        by_category = arrays[0].sum(axis=(1, 2, 3))
        highest = by_category.shape[1] - 1
        total, number = by_category @ np.arange(highest + 1) / highest, by_category.sum(axis=1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def measure_at(fit: Fit, mean: np.ndarray) -> np.ndarray:
    """(N,) logits at which the expected score, as a share of the highest, is (N,) `mean`.

    Infinite at the ends of the scale.
    """
    if fit.step is None:
        with np.errstate(divide="ignore"):
            return np.log(mean) - np.log1p(-mean)
    curves = category_curves(fit, np.linspace(-REACH, REACH, PLACES))
    highest = curves.probability.shape[1] - 1
    expected = np.einsum("skn,k->n", curves.probability, np.arange(highest + 1))
    return _place(expected / len(curves.probability) / highest, mean, curves.logit)


def measure_of_ranks(fit: Fit, mean: np.ndarray) -> np.ndarray:
    """(N,) logits at which the mean category is (N,) `mean`, counted from 0 among those in use.

    As `measure_at`, which counts the places of categories that are not in use as well.
    """
    if fit.step is None:
        return measure_at(fit, mean)
    curves = category_curves(fit, np.linspace(-REACH, REACH, PLACES))
    return _place(curves.expected.mean(axis=0), mean, curves.logit)


def _place(expected: np.ndarray, mean: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """(N,) logits at which a rising curve over (P,) logits is (N,) `mean`; infinite beyond it."""
    inside = (mean > expected[0]) & (mean < expected[-1])
    found = np.interp(mean, expected, logit)
    away = np.where(mean >= expected[-1], np.inf, -np.inf)
    return np.where(np.isnan(mean), np.nan, np.where(inside, found, away))


def _ranks(values: np.ndarray) -> np.ndarray:
    """(M,) ranks from 1, the highest first, equal values sharing the better one; NaN of NaN."""
    known = np.isfinite(values)
    above = (values[known][None] > values[:, None]).sum(axis=1) + 1.0
    return np.where(known, above, np.nan)
