"""Sources of rows: every accepted one becomes a list of raw records.

Nothing is judged here but what keeps a record from being read at all (broken JSON, wrong
encoding, a ragged CSV line); `validation` looks at the columns.
"""

import codecs
import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dignified_jax.data.schema import REQUIRED_COLUMNS, BadRowsError, RowProblem, shorten

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
ACCEPTED = (
    "a .jsonl, .json (one object a line), .parquet or .csv file, a directory that "
    "datasets.load_dataset reads, or a hub id 'owner/name' or 'owner/name:split'"
)
_POINTER = b"version https://git-lfs.github.com/spec/"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


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
    raw: Any
    problem: tuple[str, str, str] | None = None


def read_records(
    source: str | Path,
    required: Sequence[str] = REQUIRED_COLUMNS,
    hub_config: str | None = None,
) -> list[RawRecord]:
    """All records of a file, directory or hub data set.

    Args:
      source: as in `read_rows`.
      required: columns that a table must have.
      hub_config: configuration of a hub data set, where it has several.

    Raises:
      FileNotFoundError: no such file, and not a hub id.
      ValueError: a file of an unknown kind, or a parquet file that can't be read.
      BadRowsError: a table that lacks a required column or repeats one.
    """
    path, name = Path(source), str(source)
    kind = path.suffix.lower()
    if path.is_dir():
        if (path / "state.json").is_file():
            raise ValueError(
                f"{name}: a folder of save_to_disk, with its rows in Arrow; write them with "
                "to_parquet or to_json and name that file"
            )
        return _hub(name, str(path), "train", required)
    if path.is_file():
        _refuse_pointer(name, path)
        if kind == ".parquet":
            return _parquet(name, path, required)
        if kind == ".csv":
            return _csv(name, path, required)
        if kind in SUFFIXES:
            return list(_json_records(name, path.read_bytes(), kind))
        raise ValueError(f"{name}: unknown kind of file {path.suffix!r}; expected {ACCEPTED}")
    head, _, split = name.rpartition(":")
    if head and split and Path(head).is_dir():
        return _hub(name, head, split, required)
    # A Path, or a name such as data/train.jsonl, means a file even though it reads like a hub id.
    there = path.parent != Path() and path.parent.is_dir()  # so is one in an existing directory
    is_file_name = isinstance(source, Path) or kind in SUFFIXES or there
    if is_file_name or not _HUB_ID.fullmatch(name):
        raise FileNotFoundError(f"{name}: no such file; expected {ACCEPTED}")
    repository, _, split = name.partition(":")
    return _hub(name, repository, split or "train", required, hub_config)


def _hub(
    name: str, repository: str, split: str, required: Sequence[str], config: str | None = None
) -> list[RawRecord]:
    import datasets

    try:
        which = (repository,) if config is None else (repository, config)
        table = datasets.load_dataset(*which, split=split)
    except FileNotFoundError as error:
        message = f"{name}: no such file and no such data set; expected {ACCEPTED}"
        raise FileNotFoundError(message) from error
    except Exception as error:  # of the many libraries below `datasets`
        cause = error.__cause__ or error
        line = " ".join(str(cause).split())[:300]
        raise ValueError(f"{name}: not readable as a data set: {line}") from error
    records = [RawRecord(name, row, columns, columns) for row, columns in enumerate(table, 1)]
    if records:
        _check_header(name, list(records[0].columns or ()), required)
    return records


def _parquet(name: str, path: Path, required: Sequence[str]) -> list[RawRecord]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        columns = [[_cell(scalar) for scalar in column] for column in table.columns]
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{name}: not a readable parquet file: {error}") from error
    _check_header(name, table.column_names, required)
    objects = [
        dict(zip(table.column_names, cells, strict=True)) for cells in zip(*columns, strict=True)
    ]
    return [RawRecord(name, row, record, record) for row, record in enumerate(objects, 1)]


def _cell(scalar: Any) -> Any:
    """A parquet cell; text that is not UTF-8 keeps its bytes as surrogates, found later."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.cast("binary").as_py().decode("utf-8", "surrogateescape")


def _refuse_pointer(name: str, path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ValueError(
                f"{name}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
            )


def _as_utf8(data: bytes) -> bytes:
    """Text that office programs write as UTF-16, in UTF-8; other bytes as they are."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    return data


def _json_records(name: str, data: bytes, kind: str) -> Iterator[RawRecord]:
    """One object a line; a .json may be one array of objects, whose rows are numbered from 1."""
    data = _as_utf8(data)
    if kind == ".json" and data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        try:
            array = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}: not readable as a JSON array: {error}") from error
        for row, value in enumerate(array, 1):
            bad = None if isinstance(value, dict) else ("row", "a JSON object", shorten(value))
            yield RawRecord(name, row, None if bad else value, value, bad)
    else:
        yield from _json_lines(name, data)


def _json_lines(name: str, data: bytes) -> Iterator[RawRecord]:
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip()
    # Only \n ends a line: str.splitlines would also cut at U+2028 inside a text.
    for row, line in enumerate(data.split(b"\n") if data else [], 1):
        value, problem = _json_object(line)
        yield RawRecord(name, row, value, line, problem)


def _json_object(line: bytes) -> tuple[dict[str, Any] | None, tuple[str, str, str] | None]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"{shorten(line[error.start : error.start + 8])} at byte {error.start}"
        return None, ("row", "UTF-8 text", found)
    if not text.strip():
        return None, ("row", "a JSON object", "a blank line")
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        return None, ("row", "a JSON object", f"{shorten(text)} ({error})")
    if not isinstance(value, dict):
        return None, ("row", "a JSON object", shorten(value))
    return value, None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json.loads would keep the last of two equal keys and lose the other."""
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f"key {shorten(key)} occurs twice")
        seen[key] = value
    return seen


def _csv(name: str, path: Path, required: Sequence[str]) -> list[RawRecord]:
    # Bytes that are not UTF-8 become surrogates, which `validation` reports row by row.
    text = _as_utf8(path.read_bytes()).decode("utf-8", "surrogateescape")
    text = text.removeprefix("\ufeff").rstrip("\r\n")
    consumed: list[str] = []  # the physical lines of the record being read

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    limit = csv.field_size_limit(len(text) + 1)  # the default refuses long responses
    try:
        # strict: otherwise a missing quote silently swallows the rest of the file
        reader = csv.reader(lines(), strict=True)
        return list(_csv_records(name, reader, consumed, required))
    finally:
        csv.field_size_limit(limit)


def _csv_records(
    name: str, reader: Any, consumed: list[str], required: Sequence[str]
) -> Iterator[RawRecord]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise BadRowsError([RowProblem(name, 0, "header", "CSV", str(error))]) from error
    if header is None:
        return
    _check_header(name, header, required)
    for row in itertools.count(1):
        consumed.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raw = "".join(consumed)
            yield RawRecord(name, row, None, raw, ("row", "CSV", f"{shorten(raw)} ({error})"))
            continue
        if cells is None:
            return
        raw = "".join(consumed)
        if len(cells) == len(header):
            yield RawRecord(name, row, dict(zip(header, cells, strict=True)), raw)
        else:
            found = f"{len(cells)} in {shorten(raw)}"
            yield RawRecord(name, row, None, raw, ("row", f"{len(header)} cells", found))


def _check_header(name: str, columns: list[str], required: Sequence[str]) -> None:
    """A table's columns hold for every row: one problem each, not one a row."""
    counts = Counter(columns)
    missing = [column for column in required if column not in counts]
    repeated = sorted(column for column, count in counts.items() if count > 1)
    problems = [
        RowProblem(name, 0, column, "a column of this name", f"columns {shorten(columns, 400)}")
        for column in missing
    ] + [RowProblem(name, 0, column, "one column of this name", "several") for column in repeated]
    if problems:
        raise BadRowsError(problems)
