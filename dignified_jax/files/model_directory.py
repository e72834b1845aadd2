"""Files of a Hugging Face directory, which may come from anyone: read inside it, and checked."""

from __future__ import annotations

import json
import pathlib
from typing import Any

_POINTER = b"version https://git-lfs.github.com/spec/"


class ModelFileError(ValueError):
    """A file of a model directory can't be what its name promises."""


def locate(directory: str | pathlib.Path, name: str) -> pathlib.Path | None:
    """Path of a file of the directory; None where there is none.

    Raises:
      ModelFileError: the name, or a link under it, leads out of the directory (the links of a hub
        cache lead to its own blobs, and may), or the file is a Git LFS pointer.
    """
    directory = pathlib.Path(directory)
    file = directory / name
    where = file.resolve()
    homes = [directory.resolve()]
    if homes[0].parent.name == "snapshots":  # of a hub cache: snapshots/REVISION beside blobs
        homes.append(homes[0].parent.parent / "blobs")
    if not any(where.is_relative_to(home) for home in homes):
        raise ModelFileError(
            f"{file}: leads out of the directory {directory}, to {where}; copy the file there"
        )
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ModelFileError(
                f"{file}: is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
            )
    return file


def read_object(file: str | pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file, as UTF-8 with or without a byte order mark.

    Raises:
      ModelFileError: it is not UTF-8, not JSON, or JSON of another kind.
    """
    try:
        content = json.loads(pathlib.Path(file).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{file}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else repr(content)[:40]
        raise ModelFileError(f"{file}: expected a JSON object, found {kind}")
    return content
