"""Sequences of any length in little memory: texts in arrays, rows in a temporary file."""

from __future__ import annotations

import itertools
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Generic, TypeVar, overload

import numpy as np

Item = TypeVar("Item")

MOST_IN_MEMORY = 50_000
"""Rows that stay Python objects: some hundred megabytes."""
_TOGETHER = 512


class Texts(Sequence[str]):
    """Texts that lie one after another in an array of bytes.

    Args:
      content: (byte,) uint8, UTF-8.
      lengths: (text,) bytes of each.
      indices: (item,) number of each item's text; None takes every text once.
    """

    def __init__(
        self, content: np.ndarray, lengths: np.ndarray, indices: np.ndarray | None = None
    ) -> None:
        self._content = content
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._indices = np.arange(len(lengths)) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        text = int(self._indices[at])
        start = int(self._ends[text - 1]) if text else 0
        return self._content[start : int(self._ends[text])].tobytes().decode("utf-8")


class Spilled(Sequence[Item], Generic[Item]):
    """Items of which only the first are in memory.

    The others are in a temporary file that nobody else can read and that ends with this process;
    in memory too where that can't be written.

    Args:
      items: can be pickled.
      in_memory: how many are in memory.
    """

    def __init__(self, items: Iterable[Item], in_memory: int = MOST_IN_MEMORY) -> None:
        self._length = 0
        self._parts: list[list[Item] | int] = []  # of equal length: items, or where they lie
        self._loaded: tuple[int, list[Item]] = (-1, [])
        self._file: BinaryIO | None = None
        items = iter(items)
        while part := list(itertools.islice(items, _TOGETHER)):
            self._parts.append(self._written(part) if self._length >= in_memory else part)
            self._length += len(part)

    def _written(self, part: list[Item]) -> list[Item] | int:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="dignified_jax_rows")  # noqa: SIM115
            start = self._file.seek(0, os.SEEK_END)
            pickle.dump(part, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
            return start
        except OSError:
            return part

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> Item: ...

    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...

    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        part, offset = divmod(range(len(self))[at], _TOGETHER)
        return self._part(part)[offset]

    def __iter__(self) -> Iterator[Item]:
        for part in range(len(self._parts)):
            yield from self._part(part)

    def _part(self, number: int) -> list[Item]:
        part = self._parts[number]
        if isinstance(part, list):
            return part
        if self._loaded[0] != number:
            self._file.seek(part)
            self._loaded = (number, pickle.load(self._file))
        return self._loaded[1]


class Chosen(Sequence[Item], Generic[Item]):
    """Some items of a sequence.

    Args:
      items: the sequence.
      indices: positions in it.
    """

    def __init__(self, items: Sequence[Item], indices: np.ndarray) -> None:
        self._items, self._indices = items, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, at: int) -> Item: ...

    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...

    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            return [self._items[number] for number in self._indices[at].tolist()]
        return self._items[int(self._indices[at])]
