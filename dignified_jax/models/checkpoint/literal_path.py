"""Paths for Orbax in which `*`, `?` and `[` stand for themselves."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Iterator

from etils import epath

from dignified_jax.files import store
from dignified_jax.models.checkpoint import orbax_s3

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


def literal(path: str | pathlib.Path | epath.Path) -> epath.Path:
    """The absolute path, or that in a store, for Orbax."""
    if store.is_url(path):
        orbax_s3.teach(str(path))
        return store.place(path)
    return LiteralPath(pathlib.Path(path).absolute())
