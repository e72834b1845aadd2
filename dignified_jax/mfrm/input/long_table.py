"""Long tables, one judgment a row, to the dense arrays of `fit`, with labels kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dignified_jax.mfrm.input.columns import Table, read_columns
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import FACETS

# 2^31 entries of int32 successes and trials are 16 GiB.
MOST_ENTRIES = 2**31
SHOWN_ROWS = 10


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings with names: pass `successes` and `trials` to `fit`.

    Attributes:
      successes: (model, question, judge, rubric) int32.
      trials: as successes; 0 where the table has no row, above 1 where it has several.
      labels: facet -> labels of its levels, in the order of the arrays: sorted.
    """

    successes: np.ndarray
    trials: np.ndarray
    labels: dict[str, tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class OrdinalRatings:
    """Ratings in ordered categories, with names: pass `counts` to `fit` with its `model=`.

    Attributes:
      counts: (model, question, judge, rubric, category) int32 numbers of ratings.
      labels: facet -> labels of its levels, in the order of the arrays: sorted.
      categories: the scores of the categories, ascending.
    """

    counts: np.ndarray
    labels: dict[str, tuple[Any, ...]]
    categories: tuple[int, ...]

    @property
    def trials(self) -> np.ndarray:
        """(model, question, judge, rubric) numbers of ratings."""
        return self.counts.sum(axis=-1)


def from_long(
    table: Table,
    *,
    model: str = "model",
    question: str = "question",
    judge: str | None = "judge",
    rubric: str | None = "rubric",
    score: str = "score",
    trials: str | None = None,
    threshold: float | None = None,
    categories: tuple[int, int] | None = None,
    sparse: bool = False,
) -> Ratings | OrdinalRatings | SparseRatings:
    """Reads judgments in long form. Rows of the same model, question, judge and item are summed.

    Args:
      table: a mapping of columns, a pandas or Arrow table, or the path of a CSV (.csv, .tsv, also
        .gz) or Parquet file.
      model: column of the model's label.
      question: column of the question's label.
      judge: column of the judge's label; None for a single, nameless judge.
      rubric: column of the rubric item's label; None for a single, nameless item.
      score: column of the score: 0 or 1, or anything ordered with a threshold.
      trials: column of the number of judgments a row stands for; score counts its successes then.
      threshold: scores of at least this are successes.
      categories: lowest and highest score of an ordinal scale, whose whole numbers are kept for an
        ordinal model: (1, 5).
      sparse: whether to keep a list, for `fit_sparse`; not with categories.

    Returns:
      `Ratings`, `OrdinalRatings` with categories, or `SparseRatings`.

    Raises:
      ValueError: for missing columns, missing labels or scores, and scores other than 0 or 1
        without a threshold; it names the rows, counted from 1 without the header.
    """
    if trials is not None and threshold is not None:
        raise ValueError("threshold can't be used with a trials column: scores are counts there")
    if categories is not None:
        if trials is not None or threshold is not None or sparse:
            raise ValueError("categories can't be used with a threshold, trials column or sparse")
        lowest, highest = _range(categories)
    names = dict(zip(FACETS, (model, question, judge, rubric), strict=True))
    wanted = [name for name in (*names.values(), score, trials) if name is not None]
    columns = read_columns(table, wanted)
    rows = len(columns[score])
    if rows == 0:
        raise ValueError("the table has no rows")
    problems: list[str] = []
    scores = _numbers(score, columns[score], problems)
    counts = np.ones(rows) if trials is None else _numbers(trials, columns[trials], problems)
    if threshold is not None:
        scores = np.where(np.isnan(scores), np.nan, scores >= threshold)
    elif categories is not None:
        inside = (scores == np.round(scores)) & (scores >= lowest) & (scores <= highest)
        wrong = f"{score} must be a whole number from {lowest} to {highest}"
        _report(problems, wrong, ~inside & ~np.isnan(scores), lambda row: columns[score][row])
    elif trials is None:
        odd = ~np.isnan(scores) & (scores != 0) & (scores != 1)
        wrong = f"{score} must be 0 or 1 (give threshold= or categories= for ordinal scores)"
        _report(problems, wrong, odd, lambda row: columns[score][row])
    else:
        whole = (scores == np.round(scores)) & (counts == np.round(counts))
        odd = ~(whole & (scores >= 0) & (scores <= counts)) & ~np.isnan(scores + counts)
        wrong = f"{score} and {trials} must be whole with 0 <= {score} <= {trials}"
        _report(problems, wrong, odd, lambda row: f"{scores[row]:g} of {counts[row]:g}")
    levels, codes = {}, []
    for facet, name in names.items():
        if name is None:
            levels[facet], code = (None,), np.zeros(rows, np.int64)
        else:
            missing = np.fromiter(map(_is_missing, columns[name]), bool, rows)
            _report(problems, f"{name} is missing", missing)
            levels[facet], code = _levels(columns[name], missing)
        codes.append(code)
    if problems:
        raise ValueError("\n".join(problems))
    if sparse:
        return SparseRatings(
            *codes, scores.astype(np.int64), counts.astype(np.int64), labels=levels
        )
    shape = tuple(len(levels[facet]) for facet in FACETS)
    if categories is not None:
        shape = (*shape, highest - lowest + 1)
        codes.append((scores - lowest).astype(np.int64))
    if math.prod(shape) > MOST_ENTRIES:
        raise ValueError(
            f"{rows} rows would fill a dense array of shape {shape}, {math.prod(shape):.1e} "
            "entries: too many. Keep a list (sparse=True, for mfrm.fit_sparse), or split the "
            "questions."
        )
    flat = np.ravel_multi_index(codes, shape)

    def dense(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(flat, weights=values, minlength=math.prod(shape))
        return sums.astype(np.int32).reshape(shape)

    if categories is not None:
        return OrdinalRatings(dense(counts), levels, tuple(range(lowest, highest + 1)))
    return Ratings(successes=dense(scores), trials=dense(counts), labels=levels)


def _range(categories: tuple[int, int]) -> tuple[int, int]:
    """Lowest and highest category, or an error that says what is wrong with them."""
    try:
        lowest, highest = categories
        whole = lowest == int(lowest) and highest == int(highest)
    except (TypeError, ValueError):
        whole = False
    if not whole or lowest >= highest:
        raise ValueError(
            f"categories must be the lowest and the highest score, such as (1, 5), found "
            f"{categories!r}"
        )
    return int(lowest), int(highest)


def _numbers(name: str, values: Sequence[Any], problems: list[str]) -> np.ndarray:
    """float64, NaN where there is none; reports what is missing or not a number."""

    def number(value: Any) -> float:
        if _is_missing(value):
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            return math.inf

    numbers = np.fromiter(map(number, values), float, len(values))
    _report(problems, f"{name} is missing", np.isnan(numbers))
    wrong = np.isinf(numbers)
    _report(problems, f"{name} is not a finite number", wrong, lambda row: values[row])
    return np.where(wrong, math.nan, numbers)


def _levels(values: Sequence[Any], missing: np.ndarray) -> tuple[tuple[Any, ...], np.ndarray]:
    """Distinct labels, sorted, and each row's position among them."""
    present = {value for value, gone in zip(values, missing.tolist(), strict=True) if not gone}
    try:
        ordered = sorted(present)
    except TypeError:  # labels of several types
        ordered = sorted(present, key=lambda value: (type(value).__name__, str(value)))
    position = {label: index for index, label in enumerate(ordered)}
    codes = np.fromiter((position.get(value, 0) for value in values), np.int64, len(values))
    return tuple(ordered), codes


def _is_missing(value: Any) -> bool:
    # NaN and pandas.NaT differ from themselves; pandas.NA can't be compared.
    if value is None or type(value).__name__ == "NAType":
        return True
    return bool(value != value) or (isinstance(value, str) and not value.strip())


def _report(
    problems: list[str],
    what: str,
    where: np.ndarray,
    found: Callable[[int], Any] | None = None,
) -> None:
    rows = np.flatnonzero(where).tolist()
    if rows:
        shown = ", ".join(
            f"{row + 1}" + (f" (found {found(row)!r})" if found else "")
            for row in rows[:SHOWN_ROWS]
        )
        more = f", and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        problems.append(f"{what}: row {shown}{more}")
