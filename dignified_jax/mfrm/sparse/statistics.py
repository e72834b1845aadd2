"""Counts, averages and mean squares of every level of a sparse fit; formulas as in diagnostics."""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.sparse.entries import entries_of
from dignified_jax.mfrm.sparse.fit import facet_levels


@dataclasses.dataclass(frozen=True)
class LevelStatistics:
    """One facet of L levels; all (L,).

    Attributes:
      measure: score, severity or difficulty, in logits.
      standard_error: of the measure; NaN where it was not asked for.
      count: number of judgments.
      score: sum of the scores.
      expected: sum of the expected scores.
      fair: expected score of a judgment if all other facets were at their mean.
      infit: mean square of the entries of the list; likewise the next.
      infit_zstd: standardised.
      outfit: unweighted.
      outfit_zstd: standardised.
    """

    measure: np.ndarray
    standard_error: np.ndarray
    count: np.ndarray
    score: np.ndarray
    expected: np.ndarray
    fair: np.ndarray
    infit: np.ndarray
    infit_zstd: np.ndarray
    outfit: np.ndarray
    outfit_zstd: np.ndarray


def level_statistics(fit: Fit, ratings: SparseRatings) -> dict[str, LevelStatistics]:
    """Facet, or name of a further one -> statistics of its levels.

    An entry of the list is an observation, of one judgment or several.
    """
    levels = {
        name: tuple(np.asarray(a, float) for a in pair)
        for name, pair in facet_levels(fit, ratings).items()
    }
    at = entries_of(fit, ratings)
    index, n, y, p, used = at.index, at.trials, at.successes, at.chance, at.known
    spread = p * (1.0 - p)
    variance = np.where(used, n * spread, 1.0)
    fourth = np.where(used, n * spread * (1.0 + 3.0 * (n - 2.0) * spread), 0.0)
    terms = {
        "count": n,
        "score": y,
        "expected": n * p,
        "used": used * 1.0,
        "information": used * variance,
        "square": used * (y - n * p) ** 2,
        "standard": used * (y - n * p) ** 2 / variance,
        "infit_spread": np.where(used, fourth - variance**2, 0.0),
        "outfit_spread": np.where(used, fourth / variance**2 - 1.0, 0.0),
    }
    score = levels["model"][0]
    mean = score[np.isfinite(score)].mean() if np.isfinite(score).any() else 0.0
    found = {}
    for name, (measure, error) in levels.items():
        sums = {
            term: np.bincount(index[name], weights=values, minlength=measure.size)
            for term, values in terms.items()
        }
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            infit = sums["square"] / sums["information"]
            outfit = sums["standard"] / sums["used"]
            place = measure if name == "model" else mean - measure
            found[name] = LevelStatistics(
                measure=measure,
                standard_error=error,
                count=sums["count"],
                score=sums["score"],
                expected=sums["expected"],
                fair=1.0 / (1.0 + np.exp(-place)),
                infit=infit,
                infit_zstd=_standardised(infit, sums["infit_spread"] / sums["information"] ** 2),
                outfit=outfit,
                outfit_zstd=_standardised(outfit, sums["outfit_spread"] / sums["used"] ** 2),
            )
    return found


def _standardised(mean_square: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Wilson & Hilferty's deviate, as `fit_statistics.wilson_hilferty`."""
    deviation = np.sqrt(np.where(variance > 0, variance, np.nan))
    return (np.cbrt(mean_square) - 1.0) * 3.0 / deviation + deviation / 3.0
