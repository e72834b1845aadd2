"""Chance-corrected agreement of raters, in NumPy alone: kappas, alpha and the reliability of means.

A unit is what raters give a value to. Ratings are an array `given` (N units, J raters, V values),
1 where a rater gave a unit that value, all 0 where the unit was not rated; or their sums over
raters, `counts` (N, V). With x and y the values of two raters,

    exact agreement       share of common units with x = y
    Cohen's kappa         (exact - chance) / (1 - chance), chance the sum of the products of each
                          rater's own shares of values in the common units (1960)
    Fleiss' kappa         the same over units with equally many ratings, chance from everyone's
                          shares (1971)
    Krippendorff's alpha  1 - D_o / D_e over all units with two ratings or more, D the mean
                          distance of two values: "Content Analysis" (2004), section 11.3
    ICC(2, k)             reliability of the mean of k raters, drawn from a population: Shrout &
                          Fleiss (1979), with their two-way table
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def exact_and_cohen(given: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns of each pair of raters, (J, J): common units, exact agreement, Cohen's kappa.

    Exact agreement and kappa are NaN where two raters share no unit; a rater and itself share 0.

    Args:
      given: (N, J, V) as above.
    """
    rated = given.sum(axis=-1)
    common = rated.T @ rated
    # Products of matrices, which take a tenth of einsum's time here.
    by_value = np.moveaxis(given, 2, 0)
    agreed = sum(one.T @ one for one in map(np.ascontiguousarray, by_value))
    # Of a's values, where b rated as well: (a, b, value).
    units, raters, values = given.shape
    share = (given.reshape(units, -1).T @ rated).reshape(raters, values, raters).swapaxes(1, 2)
    common = np.where(~np.eye(len(common), dtype=bool), common, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = agreed / common
        chance = (share * share.swapaxes(0, 1)).sum(axis=-1) / common**2
        cohen = (exact - chance) / (1.0 - chance)
    return common, *(np.where(common > 0, value, np.nan) for value in (exact, cohen))


def pair_mean(values: np.ndarray, common: np.ndarray) -> float:
    """Returns the mean over pairs of raters, weighted by common units, where it is defined.

    Args:
      values: (J, J) of each pair; of Cohen's kappa the mean is Light's (1971).
      common: (J, J) from `exact_and_cohen`.
    """
    known = (common > 0) & np.isfinite(values)
    return float(np.average(values[known], weights=common[known])) if known.any() else float("nan")


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' kappa of (N, V) numbers of raters who gave each value, alike many in every unit."""
    if not len(counts):
        return float("nan")
    raters = counts[0].sum()
    agreed = ((counts**2).sum(axis=1) - raters).mean() / (raters * (raters - 1.0))
    chance = ((counts.mean(axis=0) / raters) ** 2).sum()
    return ratio(agreed - chance, 1.0 - chance)


def krippendorff_alpha(
    counts: np.ndarray, distance: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Krippendorff's alpha of (N, V) numbers of raters and (V, V) distances of the values.

    Args:
      counts: how many raters gave each unit each value.
      distance: 0 on the diagonal; 1 elsewhere for values without an order.
      weights: (N,) how often each unit counts, as in a sample with replacement; None for once.
    """
    times = np.ones(len(counts)) if weights is None else weights
    return alpha_of(coincidences(counts, times), distance)


def coincidences(counts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(V, V) numbers of pairs of values in a unit, of a rater's value each 1 in all.

    Args:
      counts: (N, V) as for `krippendorff_alpha`.
      times: (N,) how often each unit counts.
    """
    number = counts.sum(axis=1)
    counts, number, times = counts[number > 1], number[number > 1], times[number > 1]
    weighted = counts * (times / (number - 1.0))[:, None]
    return weighted.T @ counts - np.diag(weighted.sum(axis=0))


def alpha_of(coincidences: np.ndarray, distance: np.ndarray) -> float:
    """Krippendorff's alpha from (V, V) coincidences, which add up over units."""
    totals = coincidences.sum(axis=1)
    expected = np.outer(totals, totals) - np.diag(totals)
    disagreement = (coincidences * distance).sum() * (totals.sum() - 1.0)
    return 1.0 - ratio(disagreement, (expected * distance).sum())


def icc_2k(scores: np.ndarray) -> float:
    """ICC(2, k) of (N, k) scores: two-way random effects, absolute agreement of the mean."""
    units, raters = scores.shape
    if units < 2 or raters < 2:
        return float("nan")
    scores = scores - scores[0, 0]  # scores that are all alike are then exactly 0, as their mean is
    rows, columns, mean = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    between = raters * ((rows - mean) ** 2).sum() / (units - 1)
    of_raters = units * ((columns - mean) ** 2).sum() / (raters - 1)
    rest = ((scores - rows[:, None] - columns + mean) ** 2).sum() / ((units - 1) * (raters - 1))
    return ratio(between - rest, between + (of_raters - rest) / units)


def percentile_interval(samples: Iterable[float], level: float) -> tuple[float, float]:
    """Returns the percentiles of a figure over the bootstrap samples where it is defined."""
    values = np.array(list(samples), float)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def ratio(top: float, bottom: float) -> float:
    """Returns top / bottom, NaN where the divisor is 0."""
    return float(top / bottom) if bottom else float("nan")
