"""A file of what is done, a JSON line each, that a kill leaves readable."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.files import jsonl


class Ledger:
    """Records by key; one that is there is not made again."""

    def __init__(self, file: pathlib.Path, keys: Sequence[str]) -> None:
        """
        Args:
          file: of JSON lines; need not exist.
          keys: fields that tell records apart. Lines without them are damaged and don't count.
        """
        self._file, self._keys = file, tuple(keys)
        self._records: dict[tuple[str, ...], dict[str, Any]] = {}
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            return
        records, damaged = jsonl.read(file, lambda record: all(key in record for key in keys))
        if damaged or not file.read_bytes().endswith(b"\n"):  # a kill cut a line short
            jsonl.write(file, records)
        self._records = {self._key(record): record for record in records}

    def get(self, *key: str) -> dict[str, Any] | None:
        """The record of a key; None where there is none."""
        return self._records.get(key)

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a record, on disk before this returns.

        Raises:
          OSError: names the file.
        """
        jsonl.append(self._file, record)
        self._records[self._key(record)] = dict(record)

    def _key(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(record[key] for key in self._keys)
