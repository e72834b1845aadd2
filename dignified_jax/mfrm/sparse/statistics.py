"""Counts, averages and mean squares of every level of a sparse fit; formulas as in diagnostics."""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.category_statistics import (
    CategoryStatistics,
    category_terms,
    statistics_of,
)
from dignified_jax.mfrm.diagnostics.diagnose import expected_scores
from dignified_jax.mfrm.diagnostics.residual_summary import (
    ResidualSummary,
    residual_sums,
    step_parameters,
    summary_of,
)
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.sparse.entries import Entries, category_chances, entries_of
from dignified_jax.mfrm.sparse.fit import facet_levels

# Entries whose categories are looked at together, which bounds memory.
BLOCK = 2**18


@dataclasses.dataclass(frozen=True)
class LevelStatistics:
    """One facet of L levels; all (L,).

    Attributes:
      measure: score, severity or difficulty, in logits.
      standard_error: of the measure; NaN where it was not asked for.
      count: number of judgments.
      score: sum of the scores, as they were given.
      expected: sum of the expected scores.
      fair: expected score of a judgment if all other facets were at their mean; where each rubric
        item has its own steps, of other facets the mean over items.
      infit: mean square of the entries of the list; likewise the next.
      infit_zstd: standardised.
      outfit: unweighted.
      outfit_zstd: standardised.
      correlation: between scores and measures, as `fit_statistics` has it.
      expected_correlation: its value under the model.
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
    correlation: np.ndarray
    expected_correlation: np.ndarray


def level_statistics(fit: Fit, ratings: SparseRatings) -> dict[str, LevelStatistics]:
    """Facet, or name of a further one -> statistics of its levels.

    An entry of the list is an observation, of one judgment or several.
    """
    levels = {
        name: tuple(np.asarray(a, float) for a in pair)
        for name, pair in facet_levels(fit, ratings).items()
    }
    at = entries_of(fit, ratings)
    index, used, square = at.index, at.known, at.residual**2
    variance = np.where(used, at.variance, 1.0)
    terms = {
        "count": at.trials,
        "score": at.score,
        "expected": at.expected_score,
        "used": used * 1.0,
        "information": at.variance,
        "square": square,
        "standard": square / variance,
        "infit_spread": at.fourth_moment - at.variance**2,
        "outfit_spread": np.where(used, at.fourth_moment / variance**2 - 1.0, 0.0),
        **_products(at),
    }
    values = None if ratings.categories is None else np.asarray(ratings.categories, float)
    on_host = dataclasses.replace(fit, step=None if fit.step is None else np.asarray(fit.step))
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
            with xp.on_host(True):
                fair = expected_scores(on_host, place, name == "rubric", values)
            found[name] = LevelStatistics(
                measure=measure,
                standard_error=error,
                count=sums["count"],
                score=sums["score"],
                expected=sums["expected"],
                fair=fair,
                infit=infit,
                infit_zstd=_standardised(infit, sums["infit_spread"] / sums["information"] ** 2),
                outfit=outfit,
                outfit_zstd=_standardised(outfit, sums["outfit_spread"] / sums["used"] ** 2),
                correlation=_correlation(sums, "x", sums["xx"]),
                expected_correlation=_correlation(sums, "e", sums["ee"] + sums["w"]),
            )
    return found


def _products(at: Entries) -> dict[str, np.ndarray]:
    """(N,) terms of the correlations of a judgment's score x, expectation e and measure m."""
    used, n = at.known, at.trials
    x, e = at.successes / n, at.chance
    m = np.where(used, at.logit, 0.0)
    m = np.where(used, m - m.sum() / max(used.sum(), 1), 0.0)
    found = {"n": n, "x": n * x, "e": n * e, "m": n * m, "xx": n * x * x, "ee": n * e * e}
    found |= {"mm": n * m * m, "xm": n * x * m, "em": n * e * m, "w": at.variance / n}
    return {name: np.where(used, values, 0.0) for name, values in found.items()}


def _correlation(sums: dict[str, np.ndarray], of: str, squares: np.ndarray) -> np.ndarray:
    """(L,) of x or e with m; NaN where they do not vary."""
    product = sums[f"{of}m"] - sums[of] * sums["m"] / sums["n"]
    spread = squares - sums[of] ** 2 / sums["n"]
    measures = sums["mm"] - sums["m"] ** 2 / sums["n"]
    both = np.where((spread > 0) & (measures > 0), spread * measures, np.nan)
    return product / np.sqrt(both)


def overall_mean_squares(fit: Fit, ratings: SparseRatings) -> tuple[float, float]:
    """Infit and outfit of all entries; NaN where none has a variance."""
    at = entries_of(fit, ratings)
    square, variance = at.residual[at.known] ** 2, at.variance[at.known]
    if not variance.size:
        return float("nan"), float("nan")
    return float(square.sum() / variance.sum()), float((square / variance).mean())


def sparse_residual_summary(fit: Fit, ratings: SparseRatings) -> ResidualSummary:
    """Summary of the residuals of all ratings, as `diagnostics.residual_summary` has it.

    Args:
      fit: from these ratings.
      ratings: the list.
    """
    at = entries_of(fit, ratings)
    finite = np.isfinite(at.logit)
    values = np.asarray(ratings.categories or (0.0, 1.0), float)
    chance, sums = category_chances(at), {}
    for start in range(0, at.logit.size, BLOCK):
        part = slice(start, start + BLOCK)
        inside = _by_category(at, ratings, part) * finite[part, None]
        own = residual_sums(inside, chance[part], values)
        sums = {name: sums.get(name, 0.0) + value for name, value in own.items()}
    cells = at.index["model"][finite] * at.sizes["question"] + at.index["question"][finite]
    free = int(np.isfinite(np.asarray(fit.score)).sum())
    free += sum(size - 1 for name, size in at.sizes.items() if name != "model")
    return summary_of(sums, parameters=free + step_parameters(fit), answers=np.unique(cells).size)


def sparse_category_statistics(fit: Fit, ratings: SparseRatings) -> CategoryStatistics:
    """Statistics of the categories of a sparse fit, as `diagnostics.category_statistics` has them.

    Args:
      fit: from these ratings.
      ratings: the list.
    """
    at = entries_of(fit, ratings)
    sets, size = at.scale.used.shape
    places = np.arange(size)
    chance, sums = category_chances(at), {}
    for start in range(0, at.logit.size, BLOCK):
        part = slice(start, start + BLOCK)
        set_of, given = at.set_of[part], _by_category(at, ratings, part)
        terms = category_terms(given, at.logit[part], chance[part], at.scale.rank[set_of])
        place = (set_of[:, None] * size + places).ravel()
        for name, values in terms.items():
            total = np.bincount(place, weights=values.ravel(), minlength=sets * size)
            sums[name] = sums.get(name, 0.0) + total
    return statistics_of(fit, {name: value.reshape(sets, size) for name, value in sums.items()})


def _by_category(at: Entries, ratings: SparseRatings, part: slice) -> np.ndarray:
    """(n, K) numbers of judgments in each category, of a part of the entries."""
    if ratings.categories is None:
        return np.stack([at.trials[part] - at.successes[part], at.successes[part]], axis=1)
    places = np.arange(len(ratings.categories))
    return (np.asarray(ratings.successes)[part, None] == places).astype(float)


def _standardised(mean_square: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Wilson & Hilferty's deviate, as `fit_statistics.wilson_hilferty`."""
    deviation = np.sqrt(np.where(variance > 0, variance, np.nan))
    return (np.cbrt(mean_square) - 1.0) * 3.0 / deviation + deviation / 3.0
