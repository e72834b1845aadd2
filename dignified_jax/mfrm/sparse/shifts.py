"""Shifts from raw to calibrated scores, and adjusted scores, of a sparse fit: as in diagnostics."""

from __future__ import annotations

import numpy as np

from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT, LIMIT, STEPS
from dignified_jax.mfrm.diagnostics.shifts import Shifts, shifts_of
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.sparse.entries import chances, entries_of
from dignified_jax.mfrm.sparse.fit import facet_levels


def sparse_shifts(fit: Fit, ratings: SparseRatings) -> Shifts:
    """Parts of the way from raw means to calibrated scores, as `diagnostics.shifts` has them.

    Args:
      fit: from these ratings.
      ratings: the list.
    """
    severity, trials = _severities(fit, ratings), np.asarray(ratings.trials, float)
    models = len(ratings.labels["model"])
    by_model = np.bincount(ratings.model, weights=trials * severity, minlength=models)
    number = np.bincount(ratings.model, weights=trials, minlength=models)
    return shifts_of(fit, raw_means(fit, ratings), by_model, number)


def raw_means(fit: Fit, ratings: SparseRatings) -> np.ndarray:
    """(M,) mean scores as shares of the highest category's number."""
    models = len(ratings.labels["model"])
    highest = 1 if fit.step is None else np.shape(fit.step)[-1]
    sums = np.bincount(ratings.model, weights=ratings.successes, minlength=models)
    return sums / np.bincount(ratings.model, weights=ratings.trials, minlength=models) / highest


def adjusted_scores(fit: Fit, ratings: SparseRatings) -> tuple[np.ndarray, np.ndarray]:
    """(M,) scores and standard errors, infinite ones adjusted as `diagnostics.adjusted` has it."""
    score = np.asarray(fit.score, float)
    error = np.asarray(fit.standard_error.score, float)
    infinite = np.isinf(score)
    if not infinite.any():
        return score, error
    chosen = np.flatnonzero(infinite[ratings.model])
    at = entries_of(fit, ratings)
    model, trials = ratings.model[chosen], at.trials[chosen]
    base = -_severities(fit, ratings)[chosen]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(model, weights=values, minlength=score.size)

    def moments(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) expected sums of scores and their variances."""
        p, rank = chances(at.scale, base + value[model], at.set_of[chosen])
        mean = (p * rank).sum(axis=1)
        variance = (p * (rank - mean[:, None]) ** 2).sum(axis=1)
        return sums(trials * mean), sums(trials * variance)

    most = sums(at.most[chosen])
    gap = np.minimum(ADJUSTMENT, most / 2.0)
    target = np.where(score > 0, most - gap, gap)
    low, high = np.full(score.size, -LIMIT), np.full(score.size, LIMIT)
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        above = moments(middle)[0] > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    value = (low + high) / 2.0
    with np.errstate(divide="ignore"):
        own = 1.0 / np.sqrt(moments(value)[1])
    return np.where(infinite, value, score), np.where(infinite, own, error)


def _severities(fit: Fit, ratings: SparseRatings) -> np.ndarray:
    """(N,) sums of the measures of an entry's judge, items, question and further levels."""
    levels = facet_levels(fit, ratings)
    index = {name: getattr(ratings, name) for name in ("question", "judge", "rubric")}
    index |= ratings.extra
    return sum(np.asarray(levels[name][0], float)[places] for name, places in index.items())
