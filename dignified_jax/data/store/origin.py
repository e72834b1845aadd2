"""Digests of sources of rows, by their content."""

import hashlib
from pathlib import Path

_PIECE = 1 << 24


def digest(source: str | Path) -> str | None:
    """Returns the digest of a file, or of all files of a directory; None for what is neither."""
    path = Path(source)
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        return None
    whole = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        whole.update(f"{file.relative_to(path)}\0{_of_file(file)}\0".encode(errors="replace"))
    return whole.hexdigest()


def _of_file(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            whole.update(piece)
    return whole.hexdigest()
