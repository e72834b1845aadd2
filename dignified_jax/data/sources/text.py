"""The text of a file as UTF-8, piece by piece: expanded if it is compressed with gzip."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dignified_jax.console.waiting import ShowCount
from dignified_jax.data.sources.expansion import RECORD_BYTES, Expansion

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20  # bytes


@contextlib.contextmanager
def opened(name: str, path: Path, count: ShowCount) -> Iterator[BinaryIO]:
    """Opens a file's text, whether or not its name tells that it is compressed.

    UTF-16, which office programs write, becomes UTF-8; other bytes stay as they are. A byte order
    mark at the beginning is left out.

    Args:
      name: of the file, for messages.
      path: of the file.
      count: told how many of its bytes have been read.

    Yields:
      A stream, which raises a ValueError for UTF-16 that is none.

    Raises:
      ValueError: compressed data that is cut or damaged, or that expands too far.
    """
    with path.open("rb") as file:
        pieces = _counted(file, path.stat().st_size, count)
        if _begins(path, _GZIP):
            _check_gzip(name, path)
            pieces = _read(gzip.GzipFile(fileobj=_buffered(pieces)))
        yield _buffered(_as_utf8(name, pieces))


def text_lines(name: str, path: Path, count: ShowCount) -> Iterator[bytes]:
    """Yields the lines of a file's text, without their ends; white space at its end is left out.

    Only \\n ends a line: `str.splitlines` would also cut at U+2028 inside a text.

    Args:
      name, path, count: as `opened`.

    Raises:
      ValueError: as `opened`, and its stream.
    """
    with opened(name, path, count) as stream:
        held: list[bytes] = []  # the last line that is not blank, and what came after it
        for line in stream:
            line = line.removesuffix(b"\n")
            if line.strip():
                yield from held
                held.clear()
            held.append(line)
        if held and (last := held[0].rstrip()):
            yield last


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(mark)) == mark


def _read(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _counted(file: BinaryIO, size: int, count: ShowCount) -> Iterator[bytes]:
    for piece in _read(file):
        count(file.tell(), size)
        yield piece


def _check_gzip(name: str, path: Path) -> None:
    """Reads a file through, in little memory, before anything is made of it."""
    expansion, lines = Expansion(name, path), 0
    try:
        with gzip.open(path) as stream:
            for piece in _read(stream):
                expansion.add(len(piece), "gzip data")
                lines += piece.count(b"\n")
    except EOFError as error:
        raise ValueError(f"{name}: gzip data that is cut: it ends before its end mark") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"{name}: not readable as gzip data: {error}") from error
    expansion.add(lines * RECORD_BYTES, f"gzip data of {lines} lines")


def _as_utf8(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        try:
            for piece in itertools.chain([first], pieces, [b""]):
                yield decoder.decode(piece, final=not piece).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: not readable as UTF-16: {error.reason}") from error
    else:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from pieces


class _Pieces(io.RawIOBase):
    """A stream of pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _buffered(pieces: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(_Pieces(pieces), _PIECE)
