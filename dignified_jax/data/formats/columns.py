"""Columns of a source's records, found while they pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable

from dignified_jax.data.schema.cells import has_value, is_blank
from dignified_jax.data.sources import RawRecord


@dataclasses.dataclass
class Filled:
    """A column's first content, and in how many records it has any."""

    file: str
    row: int
    value: object
    records: int


class Columns:
    """The columns of a source's records.

    Args:
      known: names of columns that are used.
      read: reads all records from the first.

    Attributes:
      names: of all columns that were found.
      filled: name of each other column with content -> where.
    """

    def __init__(self, known: Collection[str], read: Callable[[], Iterable[RawRecord]]) -> None:
        self._known = frozenset(known)
        self._read = read
        self._absent: set[str] = set()
        self.names: set[str] = set()
        self.filled: dict[str, Filled] = {}

    @property
    def unused(self) -> list[str]:
        """Names of the columns that are not used, sorted."""
        return sorted(self.names - self._known)

    def anywhere(self, name: str) -> bool:
        """Returns whether a record has a column, be it one that has not passed yet."""
        if name not in self.names | self._absent:
            found = any(name in (record.columns or {}) for record in self._read())
            (self.names if found else self._absent).add(name)
        return name in self.names

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


def _has_content(value: object) -> bool:
    return not is_blank(value) if isinstance(value, str) else has_value(value)
