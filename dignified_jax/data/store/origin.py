"""Digests of sources of rows, by their content."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dignified_jax.console.waiting import ShowCount, uncounted

_PIECE = 1 << 24


def digests(sources: Sequence[str | Path], count: ShowCount = uncounted) -> list[str | None]:
    """Returns the digest of each file, or of all files of a directory; None for what is neither.

    Args:
      sources: paths.
      count: told how many bytes have been read, and how many there are.
    """
    files = [_files(Path(source)) for source in sources]
    reader = _Reader(sum(file.stat().st_size for found in files for file in found or ()), count)
    return [
        None if found is None else _digest(Path(source), found, reader)
        for source, found in zip(sources, files, strict=True)
    ]


def _files(path: Path) -> list[Path] | None:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else None


def _digest(source: Path, files: Sequence[Path], reader: "_Reader") -> str:
    if source.is_file():
        return reader.digest(source)
    whole = hashlib.sha256()
    for file in files:
        whole.update(
            f"{file.relative_to(source)}\0{reader.digest(file)}\0".encode(errors="replace")
        )
    return whole.hexdigest()


class _Reader:
    """Reads files, and counts their bytes."""

    def __init__(self, total: int, count: ShowCount) -> None:
        self._done, self._total, self._count = 0, total, count

    def digest(self, path: Path) -> str:
        whole = hashlib.sha256()
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                whole.update(piece)
                self._done += len(piece)
                self._count(self._done, self._total)
        return whole.hexdigest()
