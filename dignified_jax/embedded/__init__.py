"""Files that ship with the package: sample preference rows, sample ratings and a tiny model."""

from __future__ import annotations

import pathlib

PREFIX = "embedded:"


def resolve(path: str) -> str:
    """ "embedded:NAME" to the path of the file or directory NAME here; others unchanged.

    Raises:
      FileNotFoundError: no such embedded file; the message lists those that exist.
    """
    if not path.startswith(PREFIX):
        return path
    root = pathlib.Path(__file__).parent
    found = root / path.removeprefix(PREFIX)
    if not found.exists():
        names = sorted(
            str(entry.relative_to(root))
            for entry in [*root.glob("*"), *root.glob("*/*.jsonl")]
            if not entry.name.startswith("__") and entry.suffix != ".py"
        )
        raise FileNotFoundError(f"{path}: embedded are {', '.join(PREFIX + n for n in names)}")
    return str(found)
