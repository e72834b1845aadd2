"""Scores as numbers: what counts as missing, as a word for a number, as no number at all."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

SHOWN_ROWS = 10
LONGEST_SHOWN = 60
WORDS = dict.fromkeys(("true", "t", "yes", "y"), 1.0) | dict.fromkeys(
    ("false", "f", "no", "n"), 0.0
)
# What files say where nothing is; refused as scores until named, with the cure.
NOTHING = {"na", "n/a", "nan", "null", "none", "missing", "-", ".", "?", "<na>", "#n/a"}
# Python's float() reads 0_1 and digits of other scripts as well.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
NAME_MISSING = "name what stands for a missing one in missing=, on the command line --missing"
LEAVE_OUT = "missing=(), on the command line --missing, leaves such rows out"
# Codes for a missing value in survey files.
CODES = {-1, -9, -99, -999, -9999, 9, 99, 999, 9999, 98, 998, 88, 77, -8, -7, -88, -77}


@dataclasses.dataclass
class Problems:
    """Faults in the rows of a table.

    Attributes:
      rows: (N,) numbers of the rows that are looked at, counted from 1 without the header.
      lines: a line a kind of problem.
    """

    rows: np.ndarray
    lines: list[str] = dataclasses.field(default_factory=list)


def is_missing(value: object) -> bool:
    """Tells whether nothing is there: None, NaN, pandas' NA and NaT, empty text."""
    # NaN and pandas.NaT differ from themselves; pandas.NA can't be compared.
    if value is None or type(value).__name__ == "NAType":
        return True
    if isinstance(value, str):
        return not value.strip()
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # arrays and the like
        return False


def is_code(codes: Sequence[object]) -> Callable[[object], bool]:
    """A test whether a value is one of the codes: equal as text, or as a number."""
    texts = {str(code).strip() for code in codes}
    numbers = {number for number in map(as_number, texts) if not math.isnan(number)}

    def match(value: object) -> bool:
        return str(value).strip() in texts or as_number(value) in numbers

    return match


def as_number(value: object) -> float:
    """The number that a value is or spells; NaN if none."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if NUMBER.fullmatch(text) else math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def numbers(
    name: str, values: Sequence[object], problems: Problems, *, words: bool = False
) -> np.ndarray:
    """float64, NaN where there is none; reports what is missing or not a finite number.

    `words`: whether true, false, yes and no, or their first letters, count as 1 and 0.
    """
    found = np.empty(len(values))
    missing = np.zeros(len(values), bool)
    for row, value in enumerate(values):
        number = as_number(value)
        if math.isnan(number) and words and isinstance(value, str):
            number = WORDS.get(value.strip().lower(), math.nan)
        found[row] = number
        missing[row] = math.isnan(number) and is_missing(value)
    wrong = ~np.isfinite(found) & ~missing
    report(problems, f"{name} is missing", missing, cure=LEAVE_OUT)
    texts = [str(values[row]).strip() for row in np.flatnonzero(wrong)]
    cure = NAME_MISSING
    if any(map(DECIMAL_COMMA.fullmatch, texts)):
        cure = "write numbers with a decimal point, 2.5 for 2,5"
    elif words and not any(text.lower() in NOTHING for text in texts):
        cure = f"yes/no scores are 0 and 1, true and false, yes and no; {NAME_MISSING}"
    what = f"{name} is not a finite number"
    report(problems, what, wrong, lambda row: values[row], cure=cure)
    return np.where(wrong, math.nan, found)


def out_of_range(
    problems: Problems, what: str, where: np.ndarray, scores: np.ndarray, found: Sequence[object]
) -> None:
    """Reports scores that there can't be; some may be codes for a missing one."""
    coded = any(value in CODES for value in scores[where].tolist())
    report(problems, what, where, lambda row: found[row], cure=NAME_MISSING if coded else "")


def suspects(scores: np.ndarray) -> list[float]:
    """Scores that are codes for missing values elsewhere and stand apart from all others."""
    levels, counts = np.unique(scores[np.isfinite(scores)], return_counts=True)
    found = []
    for place, level in enumerate(levels.tolist()):
        others = np.delete(levels, place)
        regular = others[[v not in CODES for v in others.tolist()]]
        if level not in CODES or regular.size < 2:
            continue
        away = np.abs(regular - level).min()
        gap = np.diff(regular).max()
        lone = level < 0 <= regular.min()
        outside = not regular.min() <= level <= regular.max()
        if outside and (away > gap or lone) and counts[place] < counts.sum() / 2:
            found.append(level)
    return found


def count_dropped(dropped: Sequence[object]) -> str:
    """Codes that were left out, with the number of each."""
    names = Counter("blank" if is_missing(value) else shown(value) for value in dropped)
    listed = [f"{name} ({number})" for name, number in names.most_common(SHOWN_ROWS)]
    return ", ".join(listed) + (", ..." if len(names) > SHOWN_ROWS else "")


def report(
    problems: Problems,
    what: str,
    where: np.ndarray,
    found: Callable[[int], object] | None = None,
    cure: str = "",
) -> None:
    """Adds a line with the first rows of a problem, the number of the rest, and what to do."""
    rows = np.flatnonzero(where).tolist()
    if rows:
        listed = ", ".join(
            f"{problems.rows[row]}" + (f" (found {shown(found(row))})" if found else "")
            for row in rows[:SHOWN_ROWS]
        )
        more = f", and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        problems.lines.append(f"{what}: row {listed}{more}" + (f"; {cure}" if cure else ""))


def shown(value: object) -> str:
    """A value for a message: quoted, with escapes, not too long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
