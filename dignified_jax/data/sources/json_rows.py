"""Records of JSON: one object a line, or one array of objects."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.data.schema import shorten
from dignified_jax.data.sources.json_array import ArrayError, elements
from dignified_jax.data.sources.record import RawRecord
from dignified_jax.data.sources.text import opened, text_lines

_PIECE = 4096  # bytes


def json_records(name: str, path: Path, kind: str, count: ShowCount) -> Iterator[RawRecord]:
    """Yields one object a line; a .json may be one array of objects, whose rows count from 1.

    Args:
      name, path, count: as `text.opened`.
      kind: ".json" or ".jsonl".

    Raises:
      ValueError: an array that is no JSON, or as `text.opened` and its stream.
    """
    if kind == ".json" and _is_array(name, path):
        yield from _array(name, path, count)
        return
    for row, line in enumerate(text_lines(name, path, count), 1):
        value, problem = _object(line)
        yield RawRecord(name, row, value, line, problem)


def _is_array(name: str, path: Path) -> bool:
    with opened(name, path, uncounted) as stream:
        while piece := stream.read(_PIECE):
            if begun := piece.lstrip():
                return begun.startswith(b"[")
    return False


def _array(name: str, path: Path, count: ShowCount) -> Iterator[RawRecord]:
    row = 0
    try:
        with opened(name, path, count) as stream:
            text = io.TextIOWrapper(stream, "utf-8")
            for row, value in enumerate(elements(text, _without_duplicates), 1):
                bad = None if isinstance(value, dict) else ("row", "a JSON object", shorten(value))
                yield RawRecord(name, row, None if bad else value, value, bad)
    except (ArrayError, UnicodeDecodeError, RecursionError) as error:
        message = f"{name}: not readable as a JSON array: element {row + 1}: {error}"
        raise ValueError(message) from error


def _object(line: bytes) -> tuple[dict[str, Any] | None, tuple[str, str, str] | None]:
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
