"""Writes Hugging Face directories."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from safetensors import SafetensorError
from safetensors.numpy import save_file

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.files import atomic, owned
from dignified_jax.files.model_directory import read_object
from dignified_jax.models import partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, Params, abstract_params
from dignified_jax.models.hf import names
from dignified_jax.models.hf.config import to_hf
from dignified_jax.models.hf.names import INDEX_FILE, SINGLE_FILE
from dignified_jax.models.hf.tokenizer import save_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def save(
    directory: str | pathlib.Path,
    model: Decoder,
    params: Params,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    dtype: str | None = None,
    generation_config: str | pathlib.Path | None = None,
    max_shard_bytes: int = 5_000_000_000,
    progress: ShowCount = uncounted,
) -> None:
    """Writes config.json, safetensors (sharded when large), tokenizer and generation config.

    Args:
      directory: made if need be. An earlier export of ours there is replaced; no file of others is
        touched (`files.owned`).
      model, params: as `load` returns them; sharded arrays are gathered a tensor at a time.
      tokenizer: written beside the weights when given.
      dtype: dtype on disk; None keeps the parameters'.
      generation_config: a generation_config.json to copy; None writes the config's token ids.
      max_shard_bytes: most bytes in one safetensors file.
      progress: told how many entries of the parameters have been gathered and written.

    Raises:
      ValueError: a parameter is not of the configuration's shape; or a file of others in
        `directory` has the name of one to write; or a weight is too large for `dtype`.
      OSError: a file can't be written; names it.
    """
    leaves = {partition.path_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}
    for path, leaf in jax.tree.leaves_with_path(abstract_params(model.config)):
        name = partition.path_name(path)
        found = leaves[name].shape if name in leaves else "none"
        if found != leaf.shape:
            raise ValueError(
                f"parameter {name}: by the configuration of the model its shape is {leaf.shape}, "
                f"found {found}"
            )

    def read(tensor: names.Tensor) -> np.ndarray:
        value = leaves[tensor.leaf]
        host = to_host(value[tensor.at] if tensor.at else value)
        return host.T if tensor.transposed else host

    write(
        directory,
        model.config,
        read,
        tokenizer,
        dtype=dtype or str(params["norm"]["scale"].dtype),
        generation_config=generation_config,
        max_shard_bytes=max_shard_bytes,
        progress=progress,
    )


def write(
    directory: str | pathlib.Path,
    config: DecoderConfig,
    read: Callable[[names.Tensor], np.ndarray],
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    dtype: str,
    generation_config: str | pathlib.Path | None = None,
    max_shard_bytes: int = 5_000_000_000,
    progress: ShowCount = uncounted,
) -> None:
    """`save` of tensors that `read` gives one by one, as they are in files; in all processes."""
    files = _plan_files(config, jnp.dtype(dtype).itemsize, max_shard_bytes)
    entries = sum(tensor.size for tensor in names.tensors(config))
    done = 0  # each counts when it is gathered, and when it is written
    with contextlib.ExitStack() as stack:
        partial = None
        if jax.process_index() == 0:
            partial = stack.enter_context(owned.writing(directory, overwrite=True))
        for file, held in files.items():
            tensors = {}
            for tensor in held:
                # A transposed view's memory would be written as it lies: make the copy explicit.
                tensors[tensor.name] = np.ascontiguousarray(cast(tensor.name, read(tensor), dtype))
                done += tensor.size
                progress(done, 2 * entries)
            if partial is not None:
                save_tensors(tensors, partial / file)
            done += sum(tensor.size for tensor in held)
            progress(done, 2 * entries)
        if partial is None:
            return
        if len(files) > 1:
            weight_map = {tensor.name: file for file, held in files.items() for tensor in held}
            total = entries * jnp.dtype(dtype).itemsize
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            atomic.write_json(partial / INDEX_FILE, index)
        atomic.write_json(partial / "config.json", to_hf(config, dtype))
        _save_generation_config(partial, config, generation_config)
        if tokenizer is not None:
            save_tokenizer(partial, tokenizer)


def cast(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """Returns values in another dtype.

    Raises:
      ValueError: finite ones are infinite there, as beyond 65504 in float16; names the tensor.
    """
    if values.dtype == jnp.dtype(dtype):
        return values
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not np.isfinite(found).all():  # of infinite ones nothing is lost
        lost = np.abs(values[np.isfinite(values) & ~np.isfinite(found)])
        if lost.size:
            raise ValueError(
                f"{name}: expected weights that {dtype} can hold, of at most "
                f"{float(jnp.finfo(dtype).max):g}, found {float(lost.max()):g}; write it as float32"
                " or bfloat16"
            )
    return found


def save_tensors(tensors: dict[str, np.ndarray], file: pathlib.Path) -> None:
    """Writes a safetensors file, as readable as others are.

    Raises:
      OSError: names the file.
    """
    try:
        save_file(tensors, file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{file}: cannot be written: {error}") from error
    mask = os.umask(0o077)
    os.umask(mask)
    file.chmod(0o666 & ~mask)  # safetensors leaves its files readable by their owner alone


def _save_generation_config(
    directory: pathlib.Path, config: DecoderConfig, source: str | pathlib.Path | None
) -> None:
    if source is not None:
        # As it is: GenerationConfig refuses to save some files that it reads.
        fields = read_object(source)
    else:
        hf = to_hf(config, "float32")
        ids = {key: hf[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        fields = {k: v for k, v in ids.items() if v is not None}
    atomic.write_json(directory / "generation_config.json", fields)


def _plan_files(
    config: DecoderConfig, itemsize: int, max_bytes: int
) -> dict[str, list[names.Tensor]]:
    """File name -> its tensors, in order, none over `max_bytes` unless one tensor is."""
    groups: list[list[names.Tensor]] = [[]]
    used = 0
    for tensor in names.tensors(config):
        size = tensor.size * itemsize
        if groups[-1] and used + size > max_bytes:
            groups.append([])
            used = 0
        groups[-1].append(tensor)
        used += size
    if len(groups) == 1:
        return {SINGLE_FILE: groups[0]}
    total = len(groups)
    return {
        f"model-{number:05d}-of-{total:05d}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def to_host(value: jax.Array) -> np.ndarray:
    """A whole array, in every process."""
    if value.is_fully_addressable:
        return np.asarray(value)
    return np.asarray(multihost_utils.process_allgather(value, tiled=True))
