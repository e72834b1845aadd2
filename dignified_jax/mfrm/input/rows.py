"""Rows of a long table: which are left out, which stand twice, which categories they use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.mfrm.input import scores as scoring

MOST_CATEGORIES = 1001  # 0 to 1000


def without_missing(
    columns: dict[str, list[object]],
    numbers: Sequence[str | None],
    labels: Sequence[str | None],
    codes: Sequence[object],
    notes: list[str],
) -> tuple[dict[str, list[object]], np.ndarray]:
    """The rows without a missing value, which are counted in a note, and their numbers from 1."""
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
    notes += _number_codes(columns, kept, labels, codes)
    return chosen(columns, kept), 1 + np.flatnonzero(kept)


def _number_codes(
    columns: Mapping[str, list[object]],
    kept: np.ndarray,
    labels: Sequence[str | None],
    codes: Sequence[object],
) -> list[str]:
    """Notes on labels that are equal to a code, which is of scores only if it is a number."""
    match = scoring.is_code([code for code in codes if not math.isnan(scoring.as_number(code))])
    found = []
    for name in dict.fromkeys(filter(None, labels)):
        given = Counter(
            str(v) for v, keep in zip(columns[name], kept.tolist(), strict=True) if keep
        )
        number = sum(rows for value, rows in given.items() if match(value))
        if number:
            found.append(
                f"{name} is equal to a code for missing scores in {number} rows, which stay: codes "
                "that are numbers are of scores only. Take rows without a label out yourself"
            )
    return found


def chosen(columns: dict[str, list[object]], kept: np.ndarray) -> dict[str, list[object]]:
    """Rows where `kept` holds."""
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
        "further judgments. If they are copies, and do not differ in columns that are not named "
        "here, leave them out: they make errors too small"
    ]


def places_of(
    name: str, scores: np.ndarray, limits: tuple[float, float], notes: list[str]
) -> tuple[float, ...]:
    """The categories: whole numbers of the range, or the coarser grid that all scores lie on.

    Half points make it a grid of halves, which a note tells, as one of them may be a slip.
    """
    lowest, highest = (round(2 * limit) for limit in limits)
    step = math.gcd(highest - lowest, *np.unique(2 * scores - lowest).astype(int).tolist())
    number = (highest - lowest) // step + 1
    if number > MOST_CATEGORIES:
        raise ValueError(
            f"categories {limits[0]:.12g} to {limits[1]:.12g} are {number:,}, of at most "
            f"{MOST_CATEGORIES:,}; give a threshold, or coarser scores"
        )
    halves = int((scores != np.round(scores)).sum())
    if halves:
        notes.append(
            f"{name} has half points in {halves:,} of {scores.size:,} rows: the scale has {number} "
            f"categories, {limits[0]:g} to {limits[1]:g} in steps of {step / 2:g}"
        )
    return tuple(v // 2 if v % 2 == 0 else v / 2 for v in range(lowest, highest + 1, step))


def category_limits(categories: tuple[float, float]) -> tuple[float, float]:
    """Lowest and highest category, or an error that says what is wrong with them."""
    try:
        lowest, highest = map(float, categories)
        on_grid = 2 * lowest == round(2 * lowest) and 2 * highest == round(2 * highest)
    except (TypeError, ValueError, OverflowError):
        on_grid = False
    if not on_grid or lowest >= highest:
        raise ValueError(
            f"categories must be the lowest and the highest score, such as (1, 5) or (0.5, 5), "
            f"found {categories!r}"
        )
    return lowest, highest


def refuse_twice(named: Sequence[tuple[str, str | None]], source: str) -> None:
    """Raises ValueError where two facets, or a facet and the score, are read from one column."""
    parts: dict[str, str] = {}
    for part, column in named:
        if column is not None and parts.setdefault(column, part) != part:
            raise ValueError(
                f"{source}column {column!r} is given for both {parts[column]} and {part}: name "
                "another one, or none"
            )
