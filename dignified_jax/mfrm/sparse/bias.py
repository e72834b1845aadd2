"""Bias of pairs of levels and unexpected ratings of a sparse fit: as `diagnostics` has them."""

from __future__ import annotations

import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.interactions import (
    MOST_STEPS,
    Interactions,
    false_discovery_rate,
)
from dignified_jax.mfrm.diagnostics.unexpected import UnexpectedResponses
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, FACETS, MIXED, UNRATED, Fit
from dignified_jax.mfrm.sparse.entries import entries_of

# Pairs of levels, rated or not, of one table.
MOST_PAIRS = 10**7
TOLERANCE = 1e-10


def sparse_interactions(
    fit: Fit, ratings: SparseRatings, *, facets: tuple[str, str] = ("judge", "model")
) -> Interactions:
    """Bias of every pair of levels of two facets, which may be further ones (`ratings.extra`).

    Args:
      fit: from these ratings.
      ratings: the list.
      facets: rows and columns of the result.

    Raises:
      ValueError: for other facets, or more than ten million pairs of levels.
    """
    own = {"model", "question"} == set(facets)
    at = entries_of(fit, ratings, without_theta=own)
    if len(set(facets)) != 2 or not set(facets) <= set(at.sizes):
        raise ValueError(
            f"facets must be two different ones of {', '.join(at.sizes)}, got {facets}"
        )
    shape = tuple(at.sizes[facet] for facet in facets)
    if shape[0] * shape[1] > MOST_PAIRS:
        raise ValueError(
            f"bias of {facets[0]} by {facets[1]}: {shape[0]:,} x {shape[1]:,} pairs of levels are "
            f"more than {MOST_PAIRS:,}"
        )
    place, pair = np.unique(
        np.ravel_multi_index([at.index[facet] for facet in facets], shape), return_inverse=True
    )

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(pair, weights=values, minlength=place.size)

    finite = np.isfinite(at.logit)

    def moments(bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        residual, variance = at.moments(at.logit + bias[pair])
        return sums(residual), sums(variance)

    count, zero = sums(at.trials), np.zeros(place.size)
    residual, variance = moments(zero)
    # A model without a finite score fits its ratings exactly: they tell nothing of any pair.
    telling = sums(np.where(finite, at.most, 0.0))
    informed = (telling > 0) & (variance > 0)
    told = np.where(informed, sums(np.where(finite, at.successes, 0.0)), sums(at.successes))
    telling = np.where(informed, telling, sums(at.most))
    codes = [told == telling, told == 0]
    extreme = np.select(codes, [np.int8(ALL_SUCCESSES), np.int8(ALL_FAILURES)], np.int8(MIXED))
    free, bias = informed & (extreme == MIXED), zero
    for _ in range(MOST_STEPS):
        slope, information = moments(bias)
        step = np.divide(slope, information, out=np.zeros(place.size), where=free)
        size = np.abs(step)
        bias = bias + step * np.where(size > 1.0, np.log1p(size) / np.maximum(size, 1.0), 1.0)
        if size.max(initial=0.0) <= TOLERANCE:
            break
    information = moments(bias)[1]
    bias = np.where(extreme == MIXED, bias, np.where(extreme == ALL_SUCCESSES, np.inf, -np.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(extreme == MIXED, 1.0 / np.sqrt(information), np.inf)
        bias, error = (np.where(informed, value, np.nan) for value in (bias, error))
        z = np.where(informed, residual / np.sqrt(variance), np.nan)
        figures = {
            "observed": sums(at.score) / count,
            "expected": sums(at.expected_score) / count,
            "bias": bias,
            "standard_error": error,
            "t": bias / error,
            "z": z,
        }
    with xp.on_host(True):
        figures["p"] = 2.0 * xp.normal_tail(np.abs(z))
    figures["q"] = false_discovery_rate(figures["p"])

    def spread(values: np.ndarray, empty: float) -> np.ndarray:
        """At the places of the pairs."""
        full = np.full(shape, empty, values.dtype)
        full.ravel()[place] = values
        return full

    return Interactions(
        count=spread(count, 0.0),
        extreme=spread(extreme, UNRATED),
        **{name: spread(values, np.nan) for name, values in figures.items()},
    )


def sparse_unexpected(
    fit: Fit, ratings: SparseRatings, *, least: float = 3.0, most: int = 1000
) -> tuple[UnexpectedResponses, np.ndarray]:
    """Entries that the fit is surprised by, and their places in the list.

    Args:
      fit: from these ratings.
      ratings: the list.
      least: standardised residual, either way, from which an entry is unexpected.
      most: number of entries listed.
    """
    at = entries_of(fit, ratings)
    size = np.divide(
        at.residual, np.sqrt(at.variance), out=np.zeros(at.trials.size), where=at.variance > 0
    )
    reported = np.flatnonzero(at.known & (np.abs(size) >= least))
    order = reported[np.argsort(-np.abs(size[reported]), kind="stable")][:most]
    observed, expected = (
        values[order] / at.trials[order] for values in (at.score, at.expected_score)
    )
    found = UnexpectedResponses(
        **{facet: at.index[facet][order] for facet in FACETS},
        judgments=at.trials[order],
        observed=observed,
        expected=expected,
        residual=observed - expected,
        standardized=size[order],
        least=least,
        total=int(reported.size),
        rated=int(at.known.sum()),
    )
    return found, order
