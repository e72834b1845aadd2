"""JSON lines that one process appends to, and that a kill or a disk may have damaged."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from dignified_jax.files import atomic

Record = dict[str, Any]


def append(file: str | pathlib.Path, record: Mapping[str, Any]) -> None:
    """Appends one line.

    Raises:
      OSError: names the file.
    """
    with atomic.named(file), pathlib.Path(file).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def write(file: str | pathlib.Path, records: list[Record]) -> None:
    """Writes all lines, whole or not at all."""
    atomic.write_text(file, "".join(json.dumps(record) + "\n" for record in records))


def read(
    file: str | pathlib.Path, valid: Callable[[Record], bool] = lambda record: True
) -> tuple[list[Record], list[tuple[int, str]]]:
    """The records in order, and (number, text) of the damaged lines.

    A last line without a line's end was being written, and is in neither.

    Args:
      file: what to read.
      valid: whether an object is a record of this file.

    Raises:
      FileNotFoundError: there is no such file.
    """
    text = pathlib.Path(file).read_text(encoding="utf-8", errors="backslashreplace")
    *lines, last = text.split("\n")
    records, damaged = [], []
    for number, line in enumerate([*lines, last], start=1):
        record = _parsed(line)
        if record is not None and valid(record):
            records.append(record)
        elif number <= len(lines):
            damaged.append((number, line))
    return records, damaged


def _parsed(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
