"""LoRA out: as a PEFT adapter directory, or merged into the Hugging Face weights of its base."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.files import atomic, owned
from dignified_jax.models import families, hf, partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Params
from dignified_jax.models.hf import names, writer
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.hf.tokenizer import save_tokenizer
from dignified_jax.models.lora import LoraConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WEIGHTS_FILE, CONFIG_FILE = names.ADAPTER_FILE, "adapter_config.json"


def save_adapter(
    directory: str | pathlib.Path,
    config: DecoderConfig,
    lora: LoraConfig,
    params: Params,
    base: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    dtype: str | None = None,
    wrapped: bool = False,
) -> None:
    """Writes what `peft.PeftModel.from_pretrained(model, directory)` loads.

    Args:
      directory: made if need be.
      config: of the base.
      lora: rank, scale and targets.
      params: LoRA's tree.
      base: directory or hub id that the adapter names as its base.
      tokenizer: written beside the adapter when given; its chat template may not be the base's.
      dtype: dtype on disk; None keeps the matrices'.
      wrapped: whether that base is a `Wrapper` of the model, see `hf.config.is_wrapped`; the
        adapter is then for transformers' module of all of it.

    Raises:
      ValueError: a weight is too large for `dtype`; names the tensor.
    """
    pairs = _pairs(config, params)
    if jax.process_index() > 0:
        return
    prefix = families.of(config.architecture).wrapper.prefixes[0] if wrapped else names.PREFIX
    tensors = {}
    for name, pair in pairs.items():
        name = prefix + name.removeprefix(names.PREFIX)
        for letter, matrix in zip("AB", pair, strict=True):
            # A transposed view's memory would be written as it lies: make the copy explicit.
            key = f"base_model.model.{name.removesuffix('.weight')}.lora_{letter}.weight"
            held = writer.cast(key, matrix, dtype or matrix.dtype.name)
            tensors[key] = np.ascontiguousarray(held)
    with owned.writing(directory, overwrite=True) as partial:
        writer.save_tensors(tensors, partial / WEIGHTS_FILE)
        targets: list[str] | str = [
            name for name in lora.names if any(f".{name}." in key for key in tensors)
        ]
        if wrapped:  # other parts have modules of these names
            targets = rf".*\b{re.escape(prefix)}.*\.({'|'.join(targets)})"
        atomic.write_json(partial / CONFIG_FILE, _fields(lora, base, targets))
        if tokenizer is not None:
            save_tokenizer(partial, tokenizer)


def save_merged(
    directory: str | pathlib.Path,
    base: str | pathlib.Path,
    lora: LoraConfig,
    params: Params,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    dtype: str | None = None,
    generation_config: str | pathlib.Path | None = None,
    progress: ShowCount = uncounted,
) -> None:
    """Writes W + s A B as a Hugging Face directory, from the files of the base.

    The sum is float32, a tensor at a time and on the host; tensors without LoRA stay as they are.

    Args:
      directory: made if need be.
      base: Hugging Face directory of the base.
      lora: rank, scale and targets.
      params: LoRA's tree.
      tokenizer, generation_config, progress: as in `hf.save`.
      dtype: dtype on disk; None keeps the base's.

    Raises:
      ValueError: `directory` is that of the base, or a weight is too large for `dtype`.
      FileNotFoundError, hf.WeightsError: as `hf.load`.
    """
    if pathlib.Path(directory).resolve() == pathlib.Path(base).resolve():
        raise ValueError(f"{directory}: is the base that is to be merged with; choose another")
    config = read_config(base)
    pairs = _pairs(config, params)
    if jax.process_index() > 0:
        return
    stored = hf.stored(base, config)

    def read(tensor: names.Tensor) -> np.ndarray:
        weight = stored[tensor.name].read()
        if tensor.name not in pairs:
            return weight
        a, b = (matrix.astype(np.float32) for matrix in pairs[tensor.name])
        return weight.astype(np.float32) + np.float32(lora.scale) * (b @ a)

    writer.write(
        directory,
        config,
        read,
        tokenizer,
        dtype=dtype or hf.stored_dtype(base),
        generation_config=generation_config,
        progress=progress,
    )


def _pairs(config: DecoderConfig, params: Params) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Tensor of the base -> its A (rank, in) and B (out, rank), both as PyTorch has them."""
    leaves = {partition.path_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}
    whole = {name: writer.to_host(leaf) for name, leaf in leaves.items()}
    found = {}
    for tensor in names.tensors(config):
        place, _, kind = tensor.leaf.rpartition("/")
        if kind == "kernel" and f"{place}/lora_a" in whole:
            a, b = (whole[f"{place}/lora_{letter}"][tensor.at].T for letter in "ab")
            found[tensor.name] = (a, b)
    return found


def _fields(lora: LoraConfig, base: str, targets: list[str] | str) -> dict[str, Any]:
    alpha = lora.numerator
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "use_rslora": lora.rslora,
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": None,
    }
