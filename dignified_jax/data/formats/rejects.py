"""The format of rows with golden, mask and a column for each dimension's reject."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.data.formats.columns import Columns, Filled
from dignified_jax.data.schema import (
    DIMENSIONS,
    BadRowsError,
    PreferenceRow,
    RowProblem,
    shorten,
)
from dignified_jax.data.schema.cells import (
    Found,
    is_blank,
    is_empty,
    read_prompt,
    read_reply,
    read_text,
    refused_columns,
)
from dignified_jax.data.sources import RawRecord
from dignified_jax.data.sources.record import format_hint

REQUIRED_COLUMNS = ("prompt", "golden", "mask")
"""Columns a record must have; a missing reject column reads as empty."""
ORIGIN_COLUMNS = ("seed_scene", "context", "trigger")
PROVENANCE_COLUMNS = ("construction", "review")
"""How a row was made and reviewed: for people; no reader needs them."""
_REJECT = "reject_"


def known_columns(dimensions: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that are used, or are of no use to a reader and known as such."""
    rejects = (_REJECT + dimension for dimension in dimensions)
    return (*REQUIRED_COLUMNS, *ORIGIN_COLUMNS, *PROVENANCE_COLUMNS, *rejects)


def check_columns(source: str, columns: Columns, dimensions: tuple[str, ...]) -> None:
    """Checks that the records' columns are those of the dimensions.

    A column of the default set may be missing, as public data come without some of them.

    Raises:
      BadRowsError: a reject column with text is of no dimension; a dimension has no column.
    """
    problems = [
        _unclaimed(column, columns.filled[column], dimensions)
        for column in columns.unused
        if column.startswith(_REJECT) and column in columns.filled
    ]
    if columns.names and dimensions != DIMENSIONS:
        problems += [
            RowProblem(source, 0, name, f"a column for dimension {dimension}", "none in any row")
            for dimension in dimensions
            if (name := _REJECT + dimension) not in columns.names
        ]
    if problems:
        raise BadRowsError(problems)


def _unclaimed(column: str, filled: Filled, dimensions: tuple[str, ...]) -> RowProblem:
    """The problem of a column of no dimension, at its first text."""
    more = f" and text in {filled.records - 1} more rows" if filled.records > 1 else ""
    expected = f"the reject of a dimension out of {', '.join(dimensions)}"
    found = f"{shorten(filled.value)}{more}"
    return RowProblem(filled.file, filled.row, column, expected, found)


def validate(
    record: RawRecord, _: Columns, dimensions: tuple[str, ...] = DIMENSIONS
) -> tuple[PreferenceRow | None, list[RowProblem]]:
    """Returns the row of a record and no problems, or None and at least one problem."""
    return read(record, dimensions)


def read(
    record: RawRecord, dimensions: tuple[str, ...] = DIMENSIONS
) -> tuple[PreferenceRow | None, list[RowProblem]]:
    """Returns the same as `validate`, of a record that is of no source."""
    if record.columns is None:
        assert record.problem is not None
        return None, [RowProblem(record.file, record.row, *record.problem)]
    row, found = _row(record.columns, dimensions)
    return row, [RowProblem(record.file, record.row, *problem) for problem in found]


def _row(
    columns: Mapping[str, Any], dimensions: tuple[str, ...]
) -> tuple[PreferenceRow | None, list[Found]]:
    hint = format_hint(columns)
    problems: list[Found] = [
        (name, "a column of this name", f"columns {shorten(list(columns), 400)}{hint}")
        for name in REQUIRED_COLUMNS
        if name not in columns
    ]
    problems += refused_columns(columns)
    prompt = read_prompt("prompt", columns.get("prompt"), problems)
    golden = read_reply("golden", columns.get("golden"), problems)
    origin = {name: read_text(name, columns.get(name), problems) for name in ORIGIN_COLUMNS}
    rejects = {d: read_reply(_REJECT + d, columns.get(_REJECT + d), problems) for d in dimensions}
    for name, text in (("prompt", prompt), ("golden", golden)):
        # None: the wrong type, reported already
        if name in columns and isinstance(text, str) and is_blank(text):
            problems.append((name, "text", f"an empty cell {shorten(text)}"))
    if "mask" in columns:
        mask, mask_problems = _mask(columns["mask"], dimensions)
        problems += mask_problems
        # With a broken mask it is unknown which rejects should be filled.
        if not mask_problems:
            for dimension, reject in rejects.items():
                problems += _check_reject(dimension, reject, golden, dimension in mask)
    if problems:
        return None, problems
    active = {dimension: rejects[dimension] for dimension in dimensions if dimension in mask}
    return PreferenceRow(prompt, golden, active, dimensions=dimensions, **origin), []


def _check_reject(
    dimension: str, reject: str | None, golden: str | None, active: bool
) -> list[Found]:
    field = _REJECT + dimension
    if reject is None:  # the wrong type, reported already
        return []
    if active and is_blank(reject):
        return [(field, f"text, as mask names {dimension}", f"an empty cell {shorten(reject)}")]
    if not active and not is_blank(reject):
        return [(field, f"an empty cell, as mask does not name {dimension}", shorten(reject))]
    if active and golden is not None and reject.strip() == golden.strip():
        return [(field, "a text other than golden", shorten(reject))]
    return []


def _mask(value: object, dimensions: tuple[str, ...]) -> tuple[list[str], list[Found]]:
    """The dimensions of a mask: a sequence, its printed form, or "E,A"."""
    expected = f"a list of dimensions out of {', '.join(dimensions)}"
    names = [] if is_empty(value) else _mask_names(value)
    if names is None or not all(isinstance(name, str) for name in names):
        return [], [("mask", expected, f"{shorten(value)} ({type(value).__name__})")]
    if not names:
        return [], [("mask", expected, f"an empty mask {shorten(value)}")]
    problems: list[Found] = []
    unknown = [name for name in names if name not in dimensions]
    if unknown:
        problems.append(("mask", expected, f"{shorten(value)}: unknown {unknown}"))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        problems.append(("mask", "each dimension once", f"{shorten(value)}: repeated {repeated}"))
    return names, problems


def _mask_names(value: object) -> list[object] | None:
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith(("[", "(")):
            return [name.strip() for name in text.split(",")] if text else []
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    elif hasattr(value, "tolist"):  # a numpy array
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else None
