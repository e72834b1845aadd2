"""Paths for Orbax in which `*`, `?` and `[` stand for themselves."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Iterator

from etils import epath

_LocalPath: type[epath.Path] = type(epath.Path("/"))


class LiteralPath(_LocalPath):
    """A local path whose own name is no pattern.

    Orbax looks for the parts of a checkpoint with `path.glob(pattern)`, where etils takes the
    directory for a part of the pattern: under "seed=[0]" it finds nothing. Orbax passes paths of
    this class through as they are.
    """

    def glob(self, pattern: str) -> Iterator[LiteralPath]:
        """Yields what matches under the directory, in no order."""
        for found in glob.iglob(os.path.join(glob.escape(os.fspath(self)), pattern)):
            yield self._new(found)


def literal(path: str | pathlib.Path) -> LiteralPath:
    """The absolute path, for Orbax."""
    return LiteralPath(pathlib.Path(path).absolute())
