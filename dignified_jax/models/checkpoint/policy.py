"""A policy to sample from or to score with, from whatever holds one."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint
from dignified_jax.models.checkpoint.fetched import fetched
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.hf import peft, peft_reader
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraParams

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclasses.dataclass(frozen=True)
class Policy:
    """A model that was loaded.

    Attributes:
      model, params: the decoder, and its parameter tree or that of a base and of LoRA, which are
        not merged.
      directory: has its tokenizer.
      generation: has its generation_config.json, if there is one: of an adapter without one that is
        the base, wherever the tokenizer is.
      source: where the parameters came from: a directory, or the numbered checkpoint of a run.
    """

    model: Decoder
    params: Params | LoraParams
    directory: pathlib.Path
    generation: pathlib.Path
    source: pathlib.Path


def load(
    path: str,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    base: str | None = None,
    show: Waiting = silent,
) -> Policy:
    """Loads a Hugging Face directory or hub id, a run directory or a checkpoint in it (of a whole
    model or of LoRA), a bare checkpoint, or a PEFT adapter.

    Args:
      path: of it, here, in a store or on the hub, or "embedded:NAME".
      dtype: of the parameters and the computation.
      mesh: over which parameters are split; None puts them on the default device.
      base: of LoRA: directory or hub id, if it is not where it was in training.
      show: shows what is waited for.

    Raises:
      ValueError: `base` is given, and the parameters are those of a whole model.
      FileNotFoundError, CheckpointError, WeightsError, UnsupportedModelError, ModelFileError: what
        is missing or can't be used, by name.
    """
    directory = here(path)
    if (directory / peft.CONFIG_FILE).is_file():
        return _adapter(directory, dtype, mesh, base, show)
    is_run = (directory / params_checkpoint.PARAMS).is_dir()
    if is_run or params_checkpoint.newest_in(directory) is not None:
        return _checkpoint(directory, dtype, mesh, base, show)
    if base is not None:
        raise ValueError(f"--base: {path} holds a whole model, not LoRA")
    model, params = _weights(directory, dtype, mesh, show)
    return Policy(model, params, directory, directory, directory)


def here(path: str) -> pathlib.Path:
    """Returns the local directory of what `load` takes, fetched from a store or the hub.

    Raises:
      FileNotFoundError, StoreError, ValueError: it is nowhere, or can't be fetched.
    """
    return hf.resolve(fetched(resolve(path)))


def _weights(
    directory: pathlib.Path, dtype: str, mesh: Mesh | None, show: Waiting
) -> tuple[Decoder, Params]:
    with show(f"loading {directory}", share=True) as count:
        return hf.load(directory, dtype, mesh, progress=count)


def _adapter(
    directory: pathlib.Path, dtype: str, mesh: Mesh | None, base: str | None, show: Waiting
) -> Policy:
    try:
        under = hf.resolve(resolve(base or peft_reader.read_base(directory)))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{directory}: its base is needed: {error}; say where it is with --base"
        ) from error
    model, frozen = _weights(under, dtype, mesh, show)
    lora, tree = peft_reader.load_adapter(directory, model.config, dtype, mesh)
    side = directory if has_vocabulary(directory) else under
    generation = directory if (directory / "generation_config.json").is_file() else under
    params = LoraParams(frozen, tree)
    return Policy(model.clone(lora=lora), params, side, generation, directory)


def has_vocabulary(directory: pathlib.Path) -> bool:
    """Says that a directory has a tokenizer of its own."""
    return any((directory / name).is_file() for name in _VOCABULARIES)


def _checkpoint(
    directory: pathlib.Path, dtype: str, mesh: Mesh | None, base: str | None, show: Waiting
) -> Policy:
    source, side = params_checkpoint.find(directory)
    record = lora_base.read(side)
    if record is None and base is not None:
        raise ValueError(f"--base: {source} holds a whole model, not LoRA")
    # Before anything large is read.
    under = None if record is None else lora_base.find_base(record, base, show)
    params = params_checkpoint.load_params(source, mesh, show)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    if record is not None:
        model, frozen = _weights(under, dtype, mesh, show)
        return Policy(model.clone(lora=record.lora), LoraParams(frozen, params), side, side, source)
    if "norm" not in params:
        raise params_checkpoint.CheckpointError(
            f"{source} holds LoRA alone, but {side} has no {lora_base.FILE} that names its base"
        )
    return Policy(Decoder(read_config(side), dtype=jnp.dtype(dtype)), params, side, side, source)
