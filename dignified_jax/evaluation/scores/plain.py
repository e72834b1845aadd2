"""Scores without calibration, to compare with: shares of 1s, and z-scores by judge."""

from __future__ import annotations

import numpy as np

from dignified_jax.evaluation.scores.calibration import Calibration


def raw_probability(found: Calibration) -> np.ndarray:
    """Returns (model, question) shares of 1s over judges and items; NaN where not rated."""
    return _share(found.successes.sum(axis=(2, 3)), found.trials.sum(axis=(2, 3)))


def z_scores(found: Calibration) -> np.ndarray:
    """Returns (model, question) means over judges of their standardised shares of 1s.

    A judge's shares, over all responses that it rated, have mean 0 and variance 1 then (Zheng et
    al., "Judging LLM-as-a-Judge" (2023)). A judge whose shares are all equal counts as 0.
    """
    shares = _share(found.successes.sum(axis=3), found.trials.sum(axis=3))
    mean = np.nanmean(shares, axis=(0, 1))
    spread = np.nanstd(shares, axis=(0, 1))
    standard = np.where(spread > 0, (shares - mean) / np.where(spread > 0, spread, 1.0), 0.0)
    standard = np.where(np.isnan(shares), np.nan, standard)
    return mean_of_known(standard, axis=2)


def mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Returns the mean over an axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis))


def mean_and_error(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each model's mean over questions, its standard error, and the number of questions.

    Args:
      cells: (model, question), NaN where not rated.
    """
    n = (~np.isnan(cells)).sum(axis=1)
    mean = mean_of_known(cells, axis=1)
    with np.errstate(invalid="ignore"):  # cells and mean may be infinite: no error is known then
        squares = ((cells - mean[:, None]) ** 2).sum(axis=1, where=~np.isnan(cells))
    error = np.sqrt(_share(squares, np.maximum(n - 1, 0) * n))
    return mean, error, n


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
