"""Arrays that are made part by part: in files, or in memory where those can't be written."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

Notify = Callable[[str], None]
_PIECE = 1 << 24  # bytes read at a time


class Damaged(ValueError):
    """A file does not hold what was written."""


@dataclasses.dataclass(frozen=True)
class ArrayFile:
    """Content of the file of an array.

    Attributes:
      dtype: of its numbers, as NumPy writes it.
      shape: of the array.
      sha256: of its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    sha256: str

    def check(self, file: pathlib.Path, read: Callable[[int], None]) -> None:
        """Reads a file through.

        Args:
          file: of the array.
          read: told how many bytes more have been read, again and again.

        Raises:
          Damaged: it holds something else.
          OSError: it can't be read.
        """
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                read(len(piece))
        if digest.hexdigest() != self.sha256:
            raise Damaged(f"{file.name} is not what was written")

    def read(self, file: pathlib.Path) -> np.ndarray:
        """Returns the array, whose memory is the file's."""
        if not math.prod(self.shape):  # no file of no bytes can be mapped
            return np.zeros(self.shape, self.dtype)
        return np.memmap(file, self.dtype, "r", shape=self.shape)


class Arrays:
    """Named arrays that grow by rows.

    Args:
      directory: an empty one, where each becomes a file "NAME.bin"; None keeps all in memory.
      notify: shows a line to a person, when files can't be written and memory takes their place.
    """

    def __init__(self, directory: pathlib.Path | None, notify: Notify) -> None:
        self._directory = directory
        self._notify = notify
        self._growing: dict[str, _Growing] = {}

    @property
    def in_files(self) -> bool:
        """Says whether everything is in files so far."""
        return self._directory is not None

    def append(self, parts: Mapping[str, np.ndarray]) -> None:
        """Adds rows to each array; always the same names, dtypes and widths."""
        for name, part in parts.items():
            if name not in self._growing:
                self._growing[name] = _Growing(part.dtype, part.shape[1:])
            grown = self._growing[name]
            try:
                grown.append(part, self._file(name))
            except OSError as error:
                self._leave_files(error)
                grown.append(part, None)

    def finish(self) -> tuple[dict[str, np.ndarray], dict[str, ArrayFile]]:
        """Returns the arrays, and what the file of each holds."""
        described = {name: grown.described() for name, grown in self._growing.items()}
        arrays = {
            name: grown.array(described[name], self._file(name))
            for name, grown in self._growing.items()
        }
        return arrays, described

    def _file(self, name: str) -> pathlib.Path | None:
        return None if self._directory is None else self._directory / f"{name}.bin"

    def _leave_files(self, error: OSError) -> None:
        self._notify(
            f"{self._directory}: can't be written ({error.strerror or error}); token ids are kept "
            "in memory, and not for the next start"
        )
        for name, grown in self._growing.items():
            grown.leave(self._file(name))
        self._directory = None


class _Growing:
    """One array: what was written of it, and its bytes where those are in memory."""

    def __init__(self, dtype: np.dtype, width: tuple[int, ...]) -> None:
        self._dtype, self._width = dtype, width
        self._rows = self._bytes = 0
        self._digest = hashlib.sha256()
        self._memory = bytearray()

    def append(self, part: np.ndarray, file: pathlib.Path | None) -> None:
        content = np.ascontiguousarray(part, self._dtype).reshape(-1).view(np.uint8).data
        if file is None:
            self._memory += content
        else:
            with file.open("ab") as stream:
                stream.write(content)
        self._digest.update(content)
        self._rows += len(part)
        self._bytes += len(content)

    def leave(self, file: pathlib.Path) -> None:
        """Takes into memory what a file holds of whole parts."""
        if self._bytes:
            with file.open("rb") as stream:
                self._memory += stream.read(self._bytes)
        with contextlib.suppress(OSError):
            file.unlink()

    def described(self) -> ArrayFile:
        return ArrayFile(self._dtype.str, (self._rows, *self._width), self._digest.hexdigest())

    def array(self, described: ArrayFile, file: pathlib.Path | None) -> np.ndarray:
        if file is not None:
            return described.read(file)
        return np.frombuffer(self._memory, described.dtype).reshape(described.shape)
