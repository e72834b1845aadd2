"""Parameters alone: bare checkpoints, and those that a person points at, with all they need.

A bare checkpoint holds `params` and `checksum`. Beside it, or beside the directory of numbered
checkpoints of a run, lies `model`: config.json, tokenizer and generation config, all that
conversion to Hugging Face needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jaxtyping import PyTree

from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.files import store
from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.models import partition
from dignified_jax.models.checkpoint import bytes_read, checkpoint_index
from dignified_jax.models.checkpoint.digest import of_arrays
from dignified_jax.models.checkpoint.fetched import (
    CHECKSUM,
    COMMITTED,
    MODEL_DIRECTORY,
    PARAMS,
    fetched,
)
from dignified_jax.models.checkpoint.literal_path import literal

# Files that travel with the weights unchanged.
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
    *("merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja"),
)
SIDE_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
"""All that conversion to Hugging Face needs beside weights."""


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete, or not of the expected kind."""


def save_params(directory: str | pathlib.Path, params: PyTree) -> None:
    """Writes a bare checkpoint: `directory`/params and its checksum.

    Raises:
      CheckpointError: there is one already.
    """
    target = literal(directory) / PARAMS
    if target.exists():
        raise CheckpointError(f"{target}: exists already; choose another directory")
    with explained(target, "written"):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(target, params)
        checkpoint_index.verify(target, checkpoint_index.arrays(params))
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
        checksum = ocp.args.JsonSave({PARAMS: of_arrays(params)})
        checkpointer.save(target.parent / CHECKSUM, checksum, force=True)


def load_params(
    directory: str | pathlib.Path, mesh: Mesh | None = None, show: Waiting = silent
) -> PyTree:
    """The parameters of the checkpoint at `directory` (as `find` gives it).

    Works whatever mesh the checkpoint was written from.

    Args:
      directory: of the checkpoint.
      mesh: over which they are split; None puts them on one device.
      show: shows what is waited for.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    target = literal(directory) / PARAMS
    options = {"multiprocessing_options": _readers(mesh)}
    with (
        explained(target, "restored"),
        _quiet(),
        ocp.StandardCheckpointer(**options) as checkpointer,
    ):
        metadata = checkpointer.metadata(target).item_metadata
        if metadata is None:
            raise ValueError("its metadata are missing or damaged")

        def described(path: partition.KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            sharding = SingleDeviceSharding(jax.local_devices()[0])
            if mesh is not None:
                spec = partition.partition_spec(path, leaf.shape, mesh)
                sharding = NamedSharding(mesh, spec)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        template = jax.tree.map_with_path(described, metadata.tree)
        with show(f"reading {target}", share=True, look=bytes_read.watched(target)):
            params = checkpointer.restore(target, template)
        with ocp.Checkpointer(ocp.JsonCheckpointHandler(), **options) as reader:
            verify(reader.restore(target.parent / CHECKSUM)[PARAMS], params)
        return params


def _readers(mesh: Mesh | None) -> ocp.options.MultiprocessingOptions:
    """The processes that read together: this one alone, if it alone has the parameters."""
    devices = jax.local_devices()[:1] if mesh is None else mesh.devices.flat
    processes = {device.process_index for device in devices}
    if jax.process_count() == 1 or len(processes) > 1:
        return ocp.options.MultiprocessingOptions()
    (own,) = processes
    return ocp.options.MultiprocessingOptions(own, {own}, f"process{own}")


def find(path: str | pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(checkpoint directory, its `model` directory) for a path given by a person.

    The path may be a run directory, its `checkpoints`, one numbered checkpoint, or a bare one; of a
    store, what is found is a copy here.

    Raises:
      CheckpointError: none is there; the message says where was looked.
    """
    path = pathlib.Path(fetched(os.fspath(path)))
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory")
    checkpoint = path if (path / PARAMS).is_dir() else newest_in(path)
    if checkpoint is None:
        raise CheckpointError(
            f"{path}: no checkpoint; expected {PARAMS}/ in it, or numbered checkpoints in it or "
            "in its checkpoints/"
        )
    around = [checkpoint, checkpoint.parent, checkpoint.parent.parent]
    for place in around:
        if (place / MODEL_DIRECTORY / "config.json").is_file():
            return checkpoint, place / MODEL_DIRECTORY
    looked = ", ".join(str(place / MODEL_DIRECTORY) for place in around)
    raise CheckpointError(f"{checkpoint}: no config.json found in {looked}")


def newest_in(path: store.Directory) -> store.Directory | None:
    """Returns the newest numbered checkpoint of a run directory, or of its `checkpoints`."""
    # In a store a checkpoint has its name from the beginning, and this file in the end.
    whole = COMMITTED if store.is_url(path) else ""
    for root in (path, path / "checkpoints"):
        entries = root.iterdir() if root.is_dir() else ()
        numbered = [
            entry
            for entry in entries
            if entry.name.isdigit() and (entry / PARAMS).is_dir() and (entry / whole).exists()
        ]
        if numbered:
            return max(numbered, key=lambda entry: int(entry.name))
    return None


def copy_model_files(
    source: str | pathlib.Path, target: str | pathlib.Path, names: Sequence[str] = SIDE_FILES
) -> None:
    """Copies config, tokenizer and generation config, as they are, to `target`.

    Raises:
      ModelFileError: one is not readable, or a link that leads out of the directory.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if source == target or (file := locate(source, name)) is None:
            continue
        if file.suffix == ".json":
            read_object(file)
        shutil.copyfile(file, target / name)


def read_checksum(checkpoint: store.Directory) -> dict[str, Any]:
    """Returns what a checkpoint says of itself: the digest of each part, and more in training."""
    # As Orbax's JsonCheckpointHandler names its file.
    return json.loads((checkpoint / CHECKSUM / "metadata").read_text(encoding="utf-8"))


def verify(checksum: str, tree: PyTree) -> None:
    """Checks arrays that were read against the digest of those that were saved.

    Raises:
      ValueError: they differ.
    """
    if of_arrays(tree) != checksum:
        raise ValueError("its numbers are not those that were saved")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from warning of metadata that only its manager writes."""
    before = logging.get_verbosity()
    logging.set_verbosity(min(before, logging.ERROR))
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def explained(where: str | store.Directory, done: str) -> Iterator[None]:
    """Turns any error inside into "`where`: cannot be `done`", with its first line.

    Raises:
      CheckpointError: there was one.
    """
    try:
        yield
    except Exception as error:  # TensorStore's errors are of class Exception itself
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{where}: cannot be {done}: {reason}") from error
