"""Content of sources of rows, by the digests of pieces, which several processes can share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dignified_jax.console.waiting import ShowCount, uncounted

PIECE = 1 << 24
"""Bytes of a piece."""
Wanted = Callable[[int, int], bool]
"""Takes the number of a piece of a file, and how many the file has; says whether it is read."""


def every_piece(number: int, pieces: int) -> bool:
    """Returns True, for what is read whole."""
    del number, pieces
    return True


@dataclasses.dataclass(frozen=True)
class Content:
    """Content of a file, or of all files of a directory.

    Attributes:
      files: name within the directory ("" of a file itself), bytes, and the digest of each piece,
        None of those that were not read.
    """

    files: tuple[tuple[str, int, tuple[str | None, ...]], ...]

    @classmethod
    def of(cls, files: Iterable[Sequence[Any]]) -> Content:
        """Returns the content whose `files` went through JSON."""
        return cls(tuple((name, size, tuple(pieces)) for name, size, pieces in files))

    def digest(self) -> str:
        """Returns the digest of all."""
        return hashlib.sha256(json.dumps(self.files).encode()).hexdigest()

    def read_by(self, other: Content) -> Content:
        """Returns what is left without the pieces that another did not read of a like content."""
        pieces = {name: found for name, _, found in other.files}
        return Content(
            tuple(
                (name, size, tuple(_masked(found, pieces.get(name, ()))))
                for name, size, found in self.files
            )
        )


def _masked(found: Sequence[str | None], other: Sequence[str | None]) -> list[str | None]:
    if len(found) != len(other):
        return list(found)
    return [None if b is None else a for a, b in zip(found, other, strict=True)]


def contents(
    sources: Sequence[str | Path],
    count: ShowCount = uncounted,
    wanted: Wanted = every_piece,
) -> list[Content | None]:
    """Returns the content of each source; None of one that is neither a file nor a directory.

    Args:
      sources: paths.
      count: told how many bytes have been read, and how many there are.
      wanted: says which pieces are read.
    """
    found = [_files(Path(source)) for source in sources]
    sizes = {file: file.stat().st_size for files in found for file in files or ()}
    done, total = 0, sum(sizes.values())

    def read(file: Path, size: int) -> tuple[str | None, ...]:
        nonlocal done
        digests: list[str | None] = []
        pieces = -(-size // PIECE)
        with file.open("rb") as stream:
            for number in range(pieces):
                digest = None
                if wanted(number, pieces):
                    stream.seek(number * PIECE)
                    digest = hashlib.sha256(stream.read(PIECE)).hexdigest()
                digests.append(digest)
                done += min(PIECE, size - number * PIECE)
                count(done, total)
        return tuple(digests)

    def named(file: Path, source: Path) -> str:
        name = "" if file == source else str(file.relative_to(source))
        return name.encode(errors="replace").decode()

    return [
        files
        and Content(tuple((named(f, Path(source)), sizes[f], read(f, sizes[f])) for f in files))
        for source, files in zip(sources, found, strict=True)
    ]


def _files(path: Path) -> list[Path] | None:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else None
