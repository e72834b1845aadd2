"""Records of JSON: one object a line, or one array of objects."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dignified_jax.data.schema import shorten
from dignified_jax.data.sources.record import RawRecord
from dignified_jax.data.sources.text import read_text, text_lines


def json_records(name: str, path: Path, kind: str) -> Iterator[RawRecord]:
    """Yields one object a line; a .json may be one array of objects, whose rows count from 1.

    Raises:
      ValueError: an array that is no JSON.
    """
    if kind == ".json":
        data = read_text(name, path).removeprefix(codecs.BOM_UTF8)
        if data.lstrip().startswith(b"["):
            yield from _array(name, data)
            return
    for row, line in enumerate(text_lines(name, path), 1):
        value, problem = _object(line)
        yield RawRecord(name, row, value, line, problem)


def _array(name: str, data: bytes) -> Iterator[RawRecord]:
    try:
        array = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not readable as a JSON array: {error}") from error
    for row, value in enumerate(array, 1):
        bad = None if isinstance(value, dict) else ("row", "a JSON object", shorten(value))
        yield RawRecord(name, row, None if bad else value, value, bad)


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
