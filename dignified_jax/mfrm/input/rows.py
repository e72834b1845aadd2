"""Rows of a long table: which are left out, which stand twice, which categories they use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dignified_jax.mfrm.input import scores as scoring

MOST_CATEGORIES = 1001  # 0 to 1000


def without_missing(
    columns: dict[str, list[object]],
    numbers: Sequence[str | None],
    labels: Sequence[str | None],
    codes: Sequence[object],
    notes: list[str],
) -> dict[str, list[object]]:
    """The rows without a missing value, which are counted in a note."""
    if isinstance(codes, (str, int, float)):
        codes = (codes,)
    rules = [(name, scoring.is_code(codes)) for name in dict.fromkeys(numbers) if name]
    texts = scoring.is_code([code for code in codes if math.isnan(scoring.as_number(code))])
    rules += [(name, texts) for name in dict.fromkeys(labels) if name]
    rows = len(columns[rules[0][0]])
    kept = np.ones(rows, bool)
    for name, match in rules:
        gone = np.array([scoring.is_missing(v) or match(v) for v in columns[name]], bool) & kept
        if gone.any():
            found = scoring.count_dropped([columns[name][row] for row in np.flatnonzero(gone)])
            notes.append(f"{int(gone.sum())} of {rows} rows left out, {name} missing: {found}")
        kept &= ~gone
    if kept.all():
        return columns
    return {
        name: [value for value, keep in zip(values, kept.tolist(), strict=True) if keep]
        for name, values in columns.items()
    }


def repeats(codes: Sequence[np.ndarray], *others: np.ndarray) -> list[str]:
    """A note on rows that say exactly what an earlier one says: labels, score, count and time."""
    rows = np.stack([*codes, *(np.unique(values, return_inverse=True)[1] for values in others)])
    rows = rows[:, np.lexsort(rows)]
    again = int((np.diff(rows, axis=1) == 0).all(axis=0).sum())
    if not again:
        return []
    return [
        f"{again:,} of {rows.shape[1]:,} rows repeat another one's labels and score: counted as "
        "further judgments. If they are copies, leave them out: they make errors too small"
    ]


def places_of(scores: np.ndarray, lowest: int, highest: int) -> tuple[int, ...]:
    """The categories: whole numbers of the range, or of the grid that the scores lie on."""
    step = math.gcd(highest - lowest, *np.unique(scores - lowest).astype(int).tolist())
    number = (highest - lowest) // step + 1
    if number > MOST_CATEGORIES:
        raise ValueError(
            f"categories {lowest} to {highest} are {number:,}, of at most {MOST_CATEGORIES:,}; "
            "give a threshold, or coarser scores"
        )
    return tuple(range(lowest, highest + 1, step))


def whole_range(categories: tuple[int, int]) -> tuple[int, int]:
    """Lowest and highest category, or an error that says what is wrong with them."""
    try:
        lowest, highest = categories
        integral = lowest == int(lowest) and highest == int(highest)
    except (TypeError, ValueError, OverflowError):
        integral = False
    if not integral or lowest >= highest:
        raise ValueError(
            f"categories must be the lowest and the highest score, such as (1, 5), found "
            f"{categories!r}"
        )
    return int(lowest), int(highest)
