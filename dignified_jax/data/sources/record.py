"""A record as its source holds it, and the check of a table's columns."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dignified_jax.data.schema import BadRowsError, RowProblem, shorten


@dataclass(frozen=True)
class RawRecord:
    """One record before validation.

    Attributes:
      file: the source, as the user named it.
      row: 1-based: the line number for JSONL, else the record's number (no header counted).
      columns: column -> value, or None when the record could not be read.
      raw: the record as it stood: bytes (JSONL) or text (CSV) of the file, or an object.
      problem: (field, expected, found) when `columns` is None.
    """

    file: str
    row: int
    columns: Mapping[str, Any] | None
    raw: object
    problem: tuple[str, str, str] | None = None


def check_header(name: str, columns: Sequence[str], required: Sequence[str]) -> None:
    """Checks a table's columns, which hold for every row: one problem each, not one a row.

    Raises:
      BadRowsError: a required column is missing, or one stands twice.
    """
    counts = Counter(columns)
    missing = [column for column in required if column not in counts]
    repeated = sorted(column for column, count in counts.items() if count > 1)
    found = f"columns {shorten(list(columns), 400)}{format_hint(columns)}"
    problems = [
        RowProblem(name, 0, column, "a column of this name", found) for column in missing
    ] + [RowProblem(name, 0, column, "one column of this name", "several") for column in repeated]
    if problems:
        raise BadRowsError(problems)


def format_hint(columns: Iterable[str]) -> str:
    """Returns how to read columns that are of another format than the one read, or ""."""
    for name, of_format in (("pairs", {"chosen", "rejected"}), ("rejects", {"golden", "mask"})):
        if of_format <= set(columns):
            return f"; {' and '.join(sorted(of_format))} are read with data.format={name}"
    return ""
