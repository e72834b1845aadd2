"""Reads Hugging Face directories: safetensors, one tensor at a time."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.files import store
from dignified_jax.models import partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, Params, abstract_params
from dignified_jax.models.hf import names
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.hf.weight_files import Stored, stored, widest
from dignified_jax.models.partition import KeyPath


def load(
    directory: str | pathlib.Path,
    dtype: str | None = "float32",
    mesh: Mesh | None = None,
    compute_dtype: str | None = None,
    matrix_dtype: str | None = None,
    progress: ShowCount = uncounted,
) -> tuple[Decoder, Params]:
    """Reads a Hugging Face directory: the Flax module and its parameters.

    Weights stream from the safetensors files straight into their device sharding; a device's
    part of one parameter is the most that is ever held on the host beside the result.

    Args:
      directory: holds config.json and model.safetensors, or an index and its shards.
      dtype: parameter dtype; None keeps the files'.
      mesh: as `models.partition` names its axes; None puts everything on the default device.
      compute_dtype: the module's compute dtype; None means the parameters'.
      matrix_dtype: parameter dtype of all but norm scales; None means `dtype`.
      progress: told how many parameters have been read, and how many there are.

    Raises:
      FileNotFoundError: config.json or the weights are missing.
      UnsupportedModelError: see `config.read_config`.
      WeightsError: missing, unknown, wrongly shaped or non-floating tensors, by name.
      ModelFileError: a file is not readable, a Git LFS pointer, or outside the directory.
    """
    directory = pathlib.Path(directory)
    config = read_config(directory)
    shapes = abstract_params(config)
    tensors = stored(directory, config)
    dtype = dtype or widest(tensors, directory)
    note = _noting(config, progress)

    def read(path: KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        sharding = SingleDeviceSharding(jax.local_devices()[0])
        if mesh is not None:
            spec = partition.partition_spec(path, leaf.shape, mesh)
            sharding = jax.sharding.NamedSharding(mesh, spec)
        name = partition.path_name(path)
        kind = dtype if path[-1].key == "scale" else matrix_dtype or dtype
        sources = [tensor for tensor in names.tensors(config) if tensor.leaf == name]
        return jax.make_array_from_callback(
            leaf.shape,
            sharding,
            lambda index: _part(tensors, sources, leaf.shape, index, kind, note),
        ).block_until_ready()  # so that the host's copy of one parameter goes before the next

    params = jax.tree.map_with_path(read, shapes)
    return Decoder(config, dtype=jnp.dtype(compute_dtype or dtype)), params


def resolve(path: str, weights: bool = True) -> pathlib.Path:
    """A directory as it is; a hub id ("owner/name") downloaded, the weights as safetensors only.

    One of a store ("gs://…", "s3://…") is copied here, for this process's life.

    Args:
      path: the directory, or the hub id.
      weights: whether to download those; configuration and tokenizer come anyway.

    Raises:
      FileNotFoundError: neither a directory nor a hub id that can be reached.
      StoreError, ValueError: the store can't be read.
    """
    if store.is_url(path):
        return store.fetched(path.rstrip("/"))
    directory = pathlib.Path(path)
    if directory.is_dir():
        return directory
    if directory.exists():
        raise FileNotFoundError(f"{path}: is a file; expected a Hugging Face model directory")
    if path.count("/") != 1 or path.startswith((".", "/")):
        raise FileNotFoundError(f"{path}: no such directory, and not a hub id (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.jinja", "*.txt", "tokenizer.model"]
        # Some repositories hold the weights a second time, under names of their own.
        patterns += ["model*.safetensors", names.ADAPTER_FILE] if weights else []
        return pathlib.Path(snapshot_download(path, allow_patterns=patterns))
    except Exception as error:  # the hub's errors share no base class with a useful message
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"{path}: no such directory, and the hub could not give it: {reason}"
        ) from error


def _part(
    tensors: dict[str, Stored],
    sources: Sequence[names.Tensor],
    shape: tuple[int, ...],
    index: tuple[slice, ...],
    dtype: str,
    note: Callable[[names.Tensor], None],
) -> np.ndarray:
    """One device's part of a leaf, read from the tensors that are stacked in it, as `dtype`."""
    stacked = len(sources[0].at)
    inner = index[stacked:]
    ranges = [range(*part.indices(size)) for part, size in zip(index, shape, strict=True)]
    part = np.empty([len(found) for found in ranges], jnp.dtype(dtype))
    for source in sources:
        if not all(n in found for n, found in zip(source.at, ranges, strict=False)):
            continue
        read = tensors[source.name].read(tuple(reversed(inner)) if source.transposed else inner)
        place = tuple(found.index(n) for n, found in zip(source.at, ranges, strict=False))
        part[place] = read.T if source.transposed else read
        note(source)
    return part


def _noting(config: DecoderConfig, progress: ShowCount) -> Callable[[names.Tensor], None]:
    """A function that is told of each tensor when it is read, be it for several devices."""
    total, done = sum(tensor.size for tensor in names.tensors(config)), 0
    seen: set[str] = set()

    def note(tensor: names.Tensor) -> None:
        nonlocal done
        if tensor.name not in seen:
            seen.add(tensor.name)
            done += tensor.size
            progress(done, total)

    return note
