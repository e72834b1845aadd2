"""Cells of a publisher's record: the text, or a problem noted."""

from collections.abc import Mapping
from typing import Any

from dignified_jax.data.rejected import CheckedRecord
from dignified_jax.data.schema import PreferenceRow, RowProblem, shorten
from dignified_jax.data.schema.cells import read_text
from dignified_jax.data.sources import RawRecord

Found = tuple[str, str, str]
"""What is wrong with a record: field, expected, found."""


def filled(columns: Mapping[str, Any], name: str, problems: list[Found]) -> str:
    """The text of a cell; "" after noting that it is missing, empty or no text."""
    if name not in columns:
        problems.append((name, "a column of this name", f"columns {shorten(list(columns), 400)}"))
        return ""
    text = read_text(name, columns[name], problems)
    if text is not None and not text.strip():
        problems.append((name, "text", f"an empty cell {shorten(text)}"))
    return text or ""


def unreadable(record: RawRecord) -> CheckedRecord:
    """The judgment of a record without columns."""
    assert record.problem is not None
    return CheckedRecord(record, [], [RowProblem(record.file, record.row, *record.problem)])


def rows_or_problems(
    record: RawRecord, prompt: str, golden: list[str], found: list[Found], kind: str
) -> CheckedRecord:
    """One row for each golden response, or the problems of the record."""
    if found:
        return CheckedRecord(
            record, [], [RowProblem(record.file, record.row, *each) for each in found]
        )
    return CheckedRecord(record, [PreferenceRow(prompt, g, {}, context=kind) for g in golden], [])
