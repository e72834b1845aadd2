"""Rank correlations, with ties."""

from __future__ import annotations

import numpy as np


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b of two rankings: Kendall (1945). NaN where either has ties only.

    Infinite values rank; pairs with a NaN are left out.
    """
    one, other = _both(one, other)
    # Comparisons, not signs of differences: inf - inf has none.
    signs = [np.subtract(v[:, None] > v, v[:, None] < v, dtype=int) for v in (one, other)]
    product, first, second = (
        (a * b).sum() for a, b in ((signs[0], signs[1]), (signs[0],) * 2, (signs[1],) * 2)
    )
    return float(product / np.sqrt(first * second)) if first and second else float("nan")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, tied values sharing their mean rank."""
    one, other = (mean_ranks(values) for values in _both(one, other))
    if one.size == 0:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale else float("nan")


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, tied values sharing the mean of theirs."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return (first + last + 1) / 2.0


def _both(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"rankings must be equally long, found {one.shape} and {other.shape}")
    present = ~np.isnan(one) & ~np.isnan(other)
    return one[present], other[present]
