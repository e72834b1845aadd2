"""When ratings were given: the column of an order or a time, rating by rating."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Sequence

import numpy as np

from dignified_jax.mfrm.input import scores as scoring


@dataclasses.dataclass(frozen=True)
class RatingOrder:
    """N ratings as rows of the table, with their time.

    Attributes:
      column: name of the column.
      index: facet ("model", "question", "judge", "rubric") -> (N,) numbers of the levels.
      score: (N,) numbers of successes, or categories counted from 0.
      trials: (N,) numbers of judgments.
      time: (N,) of any unit, ascending with time; NaN where the table has none.
    """

    column: str
    index: dict[str, np.ndarray]
    score: np.ndarray
    trials: np.ndarray
    time: np.ndarray


def times(name: str, values: Sequence[object], problems: scoring.Problems) -> np.ndarray:
    """(N,) float64: numbers as they are, dates and times as seconds; NaN where nothing stands.

    Reports values that are neither numbers nor dates in ISO 8601.
    """
    found = np.full(len(values), np.nan)
    wrong = np.zeros(len(values), bool)
    dated = np.zeros(len(values), bool)
    for row, value in enumerate(values):
        if scoring.is_missing(value):
            continue
        found[row] = scoring.as_number(value)
        if math.isnan(found[row]):
            found[row] = _seconds(value)
            dated[row] = True
        wrong[row] = not math.isfinite(found[row])
    what = f"{name} must be a number or a date such as 2026-01-31 or 2026-01-31T12:00"
    scoring.report(problems, what, wrong, lambda row: values[row])
    known = np.isfinite(found)
    if (dated & known).any() and (~dated & known).any():
        scoring.report(
            problems,
            f"{name} holds dates and numbers, which have no common order",
            ~dated & known,
            lambda row: values[row],
        )
    return np.where(wrong, np.nan, found)


def _seconds(value: object) -> float:
    """Seconds since 1970 of a date or time, in UTC where it has no zone; NaN of anything else."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            return math.nan
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.UTC)
        return value.timestamp()
    if isinstance(value, datetime.date):
        midnight = datetime.datetime.combine(value, datetime.time(), datetime.UTC)
        return midnight.timestamp()
    return math.nan
