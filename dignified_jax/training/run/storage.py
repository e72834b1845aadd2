"""Translates what a file system says when it takes no more, in words with a file and bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import shutil

import jax
from jaxtyping import PyTree

from dignified_jax.files import store
from dignified_jax.models.checkpoint.fetched import COMMITTED

# As strerror has them: TensorStore passes that text on, with the file in quotes before it.
_REASONS = {
    number: os.strerror(number)
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT),
    )
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def explained(error: BaseException, directory: store.Directory, tree: PyTree = None) -> str | None:
    """A line on why a checkpoint can't be written; None where it was not the file system.

    Args:
      error: from Orbax or TensorStore.
      directory: of the checkpoints.
      tree: what was to be written, for how much that is.
    """
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number not in _REASONS:
        number = next((n for n, reason in _REASONS.items() if reason in text), None)
    if number is None:
        return None
    named = re.findall(r'"(/[^"]+)"', text)
    file = error.filename if isinstance(error, OSError) else None
    line = f"{file or (named[0] if named else directory)}: {_REASONS[number]}"
    if number in _FULL and tree is not None and not store.is_url(directory):
        line += f"; {_shortage(directory, tree)}"
    return line


def _shortage(directory: pathlib.Path, tree: PyTree) -> str:
    needed = size(tree)
    free = shutil.disk_usage(directory).free
    told = f"a checkpoint takes up to {needed:,} bytes, and {free:,} are free"
    return f"{told}: {needed - free:,} are missing" if needed > free else told


def size(tree: PyTree) -> int:
    """Returns the bytes of a pytree's arrays."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def half_written(directory: pathlib.Path) -> int:
    """Returns the bytes on disk of checkpoints that are being saved in a directory."""
    found = 0
    with contextlib.suppress(OSError):  # one gets its name meanwhile
        for place in _half_written(directory):
            found += sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return found


def remove_half_written(directory: store.Directory) -> None:
    """Frees what a failed save of a numbered checkpoint holds."""
    for place in _half_written(directory):
        store.remove_tree(place)


def _half_written(directory: store.Directory) -> list[store.Directory]:
    entries = directory.iterdir() if directory.is_dir() else ()
    if store.is_url(directory):  # by its name from the beginning
        numbered = [entry for entry in entries if entry.name.isdigit()]
        return [entry for entry in numbered if not (entry / COMMITTED).exists()]
    return [entry for entry in entries if entry.name.endswith(".orbax-checkpoint-tmp")]
