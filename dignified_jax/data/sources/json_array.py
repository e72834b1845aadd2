"""The elements of a JSON array, read piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TextIO

_PIECE = 1 << 20  # characters
_SPACE = " \t\n\r"


class ArrayError(ValueError):
    """A text is no JSON array."""


def elements(
    stream: TextIO, object_pairs_hook: Callable[[list[tuple[str, object]]], object]
) -> Iterator[object]:
    """Yields the elements of an array, each as soon as it is whole.

    Args:
      stream: of the array alone.
      object_pairs_hook: as of `json.loads`.

    Raises:
      ArrayError: it is no JSON array.
      UnicodeDecodeError, RecursionError: the same, for these reasons.
    """
    decode = json.JSONDecoder(object_pairs_hook=object_pairs_hook).raw_decode
    text = _Window(stream)
    text.expect("[")
    if text.next() == "]":
        text.expect("]")
    else:
        while True:
            yield text.take(decode)
            if text.next() == "]":
                text.expect("]")
                break
            text.expect(",")
    if text.next():
        raise ArrayError(f"expected the end after ']', found {text.next()!r}")


class _Window:
    """The part of a text that has been read and not been taken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self._at, self._ended = stream, "", 0, False

    def next(self) -> str:
        """Returns the next character that is no white space, "" at the end."""
        while True:
            rest = self._text[self._at : self._at + 1]
            if rest and rest not in _SPACE:
                return rest
            if rest:
                self._at += 1
            elif not self._read(_PIECE):
                return ""

    def expect(self, character: str) -> None:
        """Takes a character, white space before it left out."""
        found = self.next()
        if found != character:
            raise ArrayError(f"expected {character!r}, found {found or 'the end'!r}")
        self._at += 1

    def take(self, decode: Callable[[str, int], tuple[object, int]]) -> object:
        """Takes a value."""
        self.next()
        size = _PIECE
        while True:
            try:
                value, end = decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Cut, or wrong, which shows at the end. Doubled: all tries take linear time.
                if not self._read(size):
                    raise ArrayError(error.msg) from error
            except ValueError as error:  # of the hook
                raise ArrayError(str(error)) from error
            else:
                following = self._text[end : end + 1]
                whole = following and following in f",]{_SPACE}"  # a number may go on
                if whole or not self._read(size):
                    self._at = end
                    return value
            size *= 2

    def _read(self, size: int) -> bool:
        piece = self._stream.read(size)
        if piece:
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)
