"""Reads Hugging Face directories: safetensors, one tensor at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes  # noqa: F401  (numpy needs it registered before safetensors can read bfloat16)
import numpy as np
from jax.sharding import Mesh, SingleDeviceSharding
from safetensors import safe_open

from dignified_jax.models import partition
from dignified_jax.models.config import DecoderConfig, read_config
from dignified_jax.models.decoder import Decoder, Params, abstract_params
from dignified_jax.models.hf import names
from dignified_jax.models.hf.names import INDEX_FILE, SINGLE_FILE

_DTYPE_NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class CheckpointError(ValueError):
    """A checkpoint's tensors are not those that its config.json promises."""


def load(
    directory: str | pathlib.Path,
    dtype: str | None = "float32",
    mesh: Mesh | None = None,
    compute_dtype: str | None = None,
    matrix_dtype: str | None = None,
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

    Raises:
      FileNotFoundError: config.json or the weights are missing.
      UnsupportedModelError: see `models.config.read_config`.
      CheckpointError: missing, unknown, wrongly shaped or non-floating tensors, by name.
    """
    directory = pathlib.Path(directory)
    config = read_config(directory)
    shapes = abstract_params(config)
    tensors = stored(directory, config)
    dtype = dtype or _widest(tensors, directory)

    def read(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        sharding = SingleDeviceSharding(jax.devices()[0])
        if mesh is not None:
            spec = partition.partition_spec(path, leaf.shape, mesh)
            sharding = jax.sharding.NamedSharding(mesh, spec)
        name = partition.path_name(path)
        kind = dtype if path[-1].key == "scale" else matrix_dtype or dtype
        sources = [tensor for tensor in names.tensors(config) if tensor.leaf == name]
        return jax.make_array_from_callback(
            leaf.shape, sharding, lambda index: _part(tensors, sources, leaf.shape, index, kind)
        ).block_until_ready()  # so that the host's copy of one parameter goes before the next

    params = jax.tree.map_with_path(read, shapes)
    return Decoder(config, dtype=jnp.dtype(compute_dtype or dtype)), params


def resolve(path: str, weights: bool = True) -> pathlib.Path:
    """A directory as it is; a hub id ("owner/name") downloaded, the weights as safetensors only.

    Args:
      path: the directory, or the hub id.
      weights: whether to download those; configuration and tokenizer come anyway.

    Raises:
      FileNotFoundError: neither a directory nor a hub id that can be reached.
    """
    directory = pathlib.Path(path)
    if directory.is_dir():
        return directory
    if path.count("/") != 1 or path.startswith((".", "/")):
        raise FileNotFoundError(f"{path}: no such directory, and not a hub id (owner/name)")
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.jinja", "*.txt", "tokenizer.model"]
        patterns += ["*.safetensors"] if weights else []
        return pathlib.Path(snapshot_download(path, allow_patterns=patterns))
    except Exception as error:  # the hub's errors share no base class with a useful message
        raise FileNotFoundError(
            f"{path}: no such directory, and the hub could not give it: {error}"
        ) from error


def stored(directory: str | pathlib.Path, config: DecoderConfig) -> dict[str, Stored]:
    """The tensors of a directory by name, once they are known to be those of `config`.

    Raises:
      FileNotFoundError, CheckpointError: as `load`.
    """
    tensors = _find(pathlib.Path(directory))
    _check(config, abstract_params(config), tensors, pathlib.Path(directory))
    return tensors


def digest(directory: str | pathlib.Path) -> str:
    """Of names, dtypes, shapes and bits of the weights, however they lie in files."""
    sha = hashlib.sha256()
    for name, tensor in sorted(_find(pathlib.Path(directory)).items()):
        sha.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
        sha.update(np.ascontiguousarray(tensor.read()).view(np.uint8))
    return sha.hexdigest()[:16]


def stored_dtype(directory: str | pathlib.Path) -> str:
    """Name of the widest floating dtype in the directory's weights, such as "bfloat16"."""
    return _widest(_find(pathlib.Path(directory)), directory)


def _widest(tensors: dict[str, Stored], directory: str | pathlib.Path) -> str:
    kinds = {tensor.dtype for tensor in tensors.values()}
    unknown = kinds - set(_DTYPE_NAMES)
    if unknown:
        raise CheckpointError(f"{directory}: tensors of dtype {', '.join(sorted(unknown))}")
    return next(name for kind, name in _DTYPE_NAMES.items() if kind in kinds)


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a tensor lies, and what the file's header says of it."""

    file: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def read(self, index: tuple[slice, ...] = ()) -> np.ndarray:
        """A slice of the tensor, copied."""
        # Opened for every read: an open file stays mapped, and all that was read of it resident.
        with safe_open(str(self.file), framework="numpy") as handle:
            return handle.get_slice(self.name)[index or slice(None)]


def _find(directory: pathlib.Path) -> dict[str, Stored]:
    """All tensors by name, of one file or of an index's shards."""
    index = directory / INDEX_FILE
    if index.is_file():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    elif (directory / SINGLE_FILE).is_file():
        weight_map = None
    else:
        raise FileNotFoundError(
            f"{directory}: found neither {SINGLE_FILE} nor {INDEX_FILE}; weights in other "
            "formats must be converted to safetensors first"
        )
    tensors: dict[str, Stored] = {}
    for file in sorted(set(weight_map.values())) if weight_map else [SINGLE_FILE]:
        path = directory / file
        if not path.is_file():
            raise FileNotFoundError(f"{path}: named in {index.name}, but not found")
        try:
            with safe_open(str(path), framework="numpy") as handle:
                slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
                found = {
                    name: Stored(path, name, tuple(part.get_shape()), part.get_dtype())
                    for name, part in slices.items()
                }
        except Exception as error:  # SafetensorError derives from Exception alone
            raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
        for name in found:
            if weight_map and weight_map.get(name) != file:
                raise CheckpointError(f"{path}: tensor {name} is not where {index.name} says")
        tensors |= found
    absent = sorted(set(weight_map or ()) - set(tensors))
    if absent:
        raise CheckpointError(f"{directory}: tensors named in {index.name} but absent: {absent}")
    return tensors


def _check(
    config: DecoderConfig, shapes: Params, tensors: dict[str, Stored], directory: pathlib.Path
) -> None:
    """Names and shapes of all tensors against the config; drops an equal tied lm_head."""
    expected = {tensor.name: tensor for tensor in names.tensors(config)}
    if config.tie_word_embeddings and "lm_head.weight" in tensors:
        head, embedding = tensors.pop("lm_head.weight"), tensors["model.embed_tokens.weight"]
        if not np.array_equal(head.read(), embedding.read()):
            raise CheckpointError(
                f"{directory}: tie_word_embeddings is true, but lm_head.weight differs from "
                "model.embed_tokens.weight"
            )
    # Buffers that old Llama exports carry; they hold no weights.
    for name in [name for name in tensors if name.endswith("rotary_emb.inv_freq")]:
        del tensors[name]
    problems = [f"missing tensor {name}" for name in expected if name not in tensors]
    problems += [f"unknown tensor {name}" for name in tensors if name not in expected]
    leaves = {partition.path_name(p): leaf.shape for p, leaf in jax.tree.leaves_with_path(shapes)}
    for name in expected.keys() & tensors.keys():
        shape = leaves[expected[name].leaf][0 if expected[name].layer is None else 1 :]
        wanted = tuple(reversed(shape)) if expected[name].transposed else shape
        found = tensors[name]
        if found.shape != wanted:
            problems.append(f"tensor {name} has shape {found.shape}, expected {wanted}")
        if found.dtype not in _DTYPE_NAMES:
            problems.append(f"tensor {name} has dtype {found.dtype}")
    if problems:
        raise CheckpointError(f"{directory}:\n  " + "\n  ".join(sorted(problems)))


def _part(
    tensors: dict[str, Stored],
    sources: list[names.Tensor],
    shape: tuple[int, ...],
    index: tuple[slice, ...],
    dtype: str,
) -> np.ndarray:
    """One device's part of a leaf, read from the files that hold its layers, cast to `dtype`."""
    stacked = sources[0].layer is not None
    inner = index[1:] if stacked else index
    chosen = sources[index[0]] if stacked else sources
    sizes = [len(range(*part.indices(size))) for part, size in zip(index, shape, strict=True)]
    part = np.empty(sizes, jnp.dtype(dtype))
    for place, source in zip(part if stacked else [part], chosen, strict=True):
        read = tensors[source.name].read(tuple(reversed(inner)) if source.transposed else inner)
        place[...] = read.T if source.transposed else read
    return part
