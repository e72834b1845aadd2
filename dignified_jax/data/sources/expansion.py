"""The bound on what a compressed file may become in memory.

A file of a few kilobytes can hold gigabytes of one repeated text. Text compresses three to
tenfold; a hundredfold is taken for damage or malice, and refused before memory is.
"""

from pathlib import Path

RATIO = 100
FLOOR = 256 << 20
"""Bytes that a file of any size may become."""
RECORD_BYTES = 400
CELL_BYTES = 64
"""Bytes of Python objects around a record and a cell, whatever stands in it."""


class ExpansionError(ValueError):
    """A compressed file becomes too large."""


class Expansion:
    """The bytes that one file has become so far.

    Attributes:
      most: bytes that it may become.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._size = path.stat().st_size
        self._bytes = 0
        self.most = max(FLOOR, RATIO * self._size)

    def add(self, size: int, what: str) -> None:
        """Counts bytes, read or about to be.

        Raises:
          ExpansionError: they are too many with those before; names the file and `what` it holds.
        """
        self._bytes += size
        if self._bytes > self.most:
            raise ExpansionError(
                f"{self._name}: {self._size} bytes that expand to more than {self.most} "
                f"({what}); expected at most {RATIO} times the file, or {FLOOR} bytes. If this "
                "is right, write it as plain .jsonl"
            )
