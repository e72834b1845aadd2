"""Models to evaluate or to judge with, by whatever path a person has."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import lora_base, params_checkpoint
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraParams


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer.

    Attributes:
      name: label.
      digest: of its weights.
      module: the decoder.
      params: its parameter tree, or that of a base and of LoRA.
      tokenizer: with a chat template.
    """

    name: str
    digest: str
    module: Decoder
    params: Params | LoraParams
    tokenizer: Any


def load(name: str, path: str, dtype: str = "float32") -> LoadedModel:
    """Loads a model on the default device.

    Args:
      name: label.
      path: a Hugging Face directory, hub id or embedded:NAME; or a run directory (its newest
        checkpoint), a numbered checkpoint, or a bare one, of a whole model or of LoRA.
      dtype: of parameters and computation.

    Raises:
      CheckpointError, FileNotFoundError, ValueError: there is none, or it can't be read.
    """
    found = _find(path)
    tokenizer = load_tokenizer(found.directory)
    if found.checkpoint is None:
        module, params = hf.load(found.directory, dtype)
        return LoadedModel(name, found.digest, module, params, tokenizer)
    # Before anything large is read.
    base = None if found.record is None else lora_base.find_base(found.record)
    trained = params_checkpoint.load_params(found.checkpoint)
    trained = jax.tree.map(lambda leaf: leaf.astype(dtype), trained)
    if base is None:
        module = Decoder(read_config(found.directory), jnp.dtype(dtype))
        return LoadedModel(name, found.digest, module, trained, tokenizer)
    module, frozen = hf.load(base, dtype)
    module = module.clone(lora=found.record.lora)
    return LoadedModel(name, found.digest, module, LoraParams(frozen, trained), tokenizer)


def digest(path: str) -> str:
    """Returns `LoadedModel.digest` without loading the model."""
    return _find(path).digest


@dataclasses.dataclass(frozen=True)
class _Found:
    """Where a model is: its tokenizer and config, and of a run its checkpoint and LoRA's base."""

    directory: pathlib.Path
    digest: str
    checkpoint: pathlib.Path | None = None
    record: lora_base.LoraBase | None = None


def _find(path: str) -> _Found:
    directory = pathlib.Path(resolve(path))
    if not directory.is_dir() or (directory / "config.json").is_file():
        directory = hf.resolve(str(directory))
        return _Found(directory, hf.digest(directory))
    checkpoint, side = params_checkpoint.find(directory)
    checksum = params_checkpoint.read_checksum(checkpoint)[params_checkpoint.PARAMS]
    record = lora_base.read(side)
    if record is not None:
        checksum = hashlib.sha256(f"{record.digest} {checksum}".encode()).hexdigest()[:16]
    return _Found(side, checksum, checkpoint, record)
