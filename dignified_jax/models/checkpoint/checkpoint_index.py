"""Checks from its own index that a checkpoint can be read back: no array is read."""

from __future__ import annotations

import collections

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from dignified_jax.files import store
from dignified_jax.models.checkpoint.literal_path import literal


def arrays(tree: PyTree) -> list[str]:
    """Data type and shape of every array of a pytree, such as "float32[3, 4]"."""
    return sorted(by_path(tree).values())


def by_path(tree: PyTree) -> dict[str, str]:
    """Path of every array of a pytree, such as "layers/0/kernel" -> as `arrays`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def read(directory: store.Directory) -> dict[str, str]:
    """Returns the `by_path` of a saved pytree, from its index.

    Raises:
      Exception: it can't be read; as Orbax and TensorStore say it.
    """
    metadata = ocp.StandardCheckpointHandler().metadata(literal(directory))
    return by_path(getattr(metadata, "tree", metadata))


def verify(directory: store.Directory, expected: list[str]) -> None:
    """Checks that the index of a saved pytree is readable and names all its arrays.

    Args:
      directory: where Orbax saved it.
      expected: its `arrays`.

    Raises:
      Exception: it can't be read; as Orbax and TensorStore say it.
      ValueError: an array is missing in it.
    """
    found = read(directory)
    missing = collections.Counter(expected) - collections.Counter(found.values())
    if missing:
        raise ValueError(
            f"its index names {len(found)} of {len(expected)} arrays; the first that is missing "
            f"is {min(missing)}"
        )


def probe(directory: store.Directory) -> None:
    """Writes a small array as a checkpoint's are written, looks for it, and removes it.

    In all processes. What a directory can't hold (TensorStore takes a backslash in its name for a
    separator, disks are full or read-only) shows before anything has been computed.

    Raises:
      Exception: as `verify`, or the array can't be written.
    """
    place = directory / ".probe"
    tree = {"probe": np.zeros(1, np.float32)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(literal(place), tree, force=True)
        if jax.process_index() == 0:
            verify(place, arrays(tree))
    finally:
        if jax.process_index() == 0:
            store.remove_tree(place)
