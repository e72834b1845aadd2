"""Columns of a source's records, found while they pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from dignified_jax.data.schema.cells import has_value, is_blank
from dignified_jax.data.sources import RawRecord


@dataclasses.dataclass
class Filled:
    """A column's first content, and in how many records it has any."""

    file: str
    row: int
    value: Any
    records: int


class Columns:
    """The columns of some records.

    Args:
      known: names of columns that are used.

    Attributes:
      names: of all columns.
      filled: name of each other column with content -> where.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self.names: set[str] = set()
        self.filled: dict[str, Filled] = {}

    @property
    def unused(self) -> list[str]:
        """Names of the columns that are not used, sorted."""
        return sorted(self.names - self._known)

    def add(self, record: RawRecord) -> None:
        """Adds a record's."""
        for column, value in (record.columns or {}).items():
            name = str(column)
            self.names.add(name)
            if name in self._known or not _has_content(value):
                continue
            if name in self.filled:
                self.filled[name].records += 1
            else:
                self.filled[name] = Filled(record.file, record.row, value, 1)


def _has_content(value: Any) -> bool:
    return not is_blank(value) if isinstance(value, str) else has_value(value)
