"""LoRA in: a PEFT adapter directory, whoever wrote it."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes  # noqa: F401  (bfloat16 for safetensors)
import numpy as np
from jax.sharding import Mesh, NamedSharding

from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.models import partition
from dignified_jax.models.config import DecoderConfig, UnsupportedModelError
from dignified_jax.models.decoder import Params, abstract_lora
from dignified_jax.models.hf import names
from dignified_jax.models.hf.peft import CONFIG_FILE, WEIGHTS_FILE
from dignified_jax.models.hf.weight_files import WeightsError
from dignified_jax.models.lora import TARGETS, LoraConfig

# Fields that would change the mathematics, with the only values implemented.
_ONLY: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "layer_replication": (None, []),
    # Others, such as "pissa", take the adapter's start off the weights of the base.
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva", "mica", "lora_ga"),
}
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


def read_base(directory: str | pathlib.Path) -> str:
    """Returns the base that an adapter names.

    Raises:
      ModelFileError: adapter_config.json is damaged.
      WeightsError: it names none, or one of the hub at a state that is not its newest.
    """
    file, fields = pathlib.Path(directory) / CONFIG_FILE, _fields(pathlib.Path(directory))
    base, revision = fields.get("base_model_name_or_path"), fields.get("revision")
    if not isinstance(base, str) or not base:
        raise WeightsError(
            f"{file}: base_model_name_or_path: expected a directory or hub id, found {base!r}"
        )
    if revision not in (None, "main") and not pathlib.Path(base).is_dir():
        raise WeightsError(
            f"{file}: revision: expected None, found {revision!r}; download {base} as it was then, "
            "and name that directory as the base"
        )
    return base


def load_adapter(
    directory: str | pathlib.Path,
    config: DecoderConfig,
    dtype: str | None = None,
    mesh: Mesh | None = None,
) -> tuple[LoraConfig, Params]:
    """Reads an adapter: its configuration, and LoRA's tree.

    Args:
      directory: holds adapter_config.json and adapter_model.safetensors.
      config: of the base.
      dtype: of the tree; None keeps the file's.
      mesh: over which the tree is split; None puts it on the default device.

    Raises:
      FileNotFoundError: there are no weights.
      ModelFileError: a file is damaged, a Git LFS pointer, or outside the directory.
      UnsupportedModelError: the adapter is of another kind, or for a base that is changed first;
        names the field.
      WeightsError: tensors are missing, unknown or of the wrong shape, by name.
    """
    directory = pathlib.Path(directory)
    sources = {t.name: t for t in names.tensors(config) if t.leaf.endswith("/kernel")}
    pairs: dict[str, dict[str, np.ndarray]] = {}
    for name, pair in _pairs(directory).items():
        known = names.known_as(f"{name}.weight", config, sources).removesuffix(".weight")
        if known in pairs:
            raise WeightsError(
                f"{directory / WEIGHTS_FILE}: holds LoRA of {known} under two names, one is {name}"
            )
        pairs[known] = pair
    unknown = [name for name in pairs if f"{name}.weight" not in sources]
    targets = {name.rpartition(".")[2] for name in pairs}
    if unknown or not targets <= set(TARGETS):
        first = min(unknown or [name for name in pairs if name.rpartition(".")[2] not in TARGETS])
        raise WeightsError(
            f"{directory / WEIGHTS_FILE}: LoRA of {first}: expected of {', '.join(TARGETS)}"
        )
    lora = _config(directory, tuple(name for name in TARGETS if name in targets))
    shapes = abstract_lora(config, lora)

    def leaf(path: partition.KeyPath, shape: jax.ShapeDtypeStruct) -> jax.Array:
        place, _, kind = partition.path_name(path).rpartition("/")
        layers = [t for t in sources.values() if t.leaf == f"{place}/kernel"]
        letter = kind[-1].upper()
        parts = []
        for tensor in layers:
            name = tensor.name.removesuffix(".weight")
            part = pairs.get(name, {}).get(letter)
            if part is None or part.T.shape != shape.shape[1:]:
                found = "none" if part is None else f"shape {list(part.shape)}"
                raise WeightsError(
                    f"{directory / WEIGHTS_FILE}: lora_{letter} of {name}: expected shape "
                    f"{list(shape.shape[:0:-1])}, found {found}"
                )
            parts.append(part.T)
        whole = np.stack(parts).astype(jnp.dtype(dtype) if dtype else parts[0].dtype)
        if mesh is None:
            return jnp.asarray(whole)
        spec = partition.partition_spec(path, whole.shape, mesh)
        return jax.device_put(whole, NamedSharding(mesh, spec))

    return lora, jax.tree.map_with_path(leaf, shapes)


def _pairs(directory: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """Module of the base -> {"A": (rank, in), "B": (out, rank)}."""
    from safetensors.numpy import load_file

    file = locate(directory, WEIGHTS_FILE)
    if file is None:
        raise FileNotFoundError(f"{directory / WEIGHTS_FILE}: not found")
    try:
        tensors = load_file(file)
    except Exception as error:  # safetensors' own error is of class Exception itself
        raise WeightsError(f"{file}: not readable as safetensors: {error}") from error
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, value in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or value.ndim != 2:
            raise WeightsError(f"{file}: {key}: expected a matrix of LoRA")
        found.setdefault(match[1], {})[match[2]] = value
    if not found:
        raise WeightsError(f"{file}: expected matrices of LoRA, found none")
    return found


def _fields(directory: pathlib.Path) -> dict[str, Any]:
    file = locate(directory, CONFIG_FILE)
    if file is None:
        raise FileNotFoundError(f"{directory / CONFIG_FILE}: not found")
    return read_object(file)


def _config(directory: pathlib.Path, targets: tuple[str, ...]) -> LoraConfig:
    fields, file = _fields(directory), directory / CONFIG_FILE
    for name, allowed in _ONLY.items():
        if fields.get(name, allowed[0]) not in allowed:
            raise UnsupportedModelError(
                f"{file}: {name}: expected {allowed[0]!r}, found {fields[name]!r}"
            )
    rank, alpha = fields.get("r"), fields.get("lora_alpha")
    for name, value in (("r", rank), ("lora_alpha", alpha)):
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise WeightsError(f"{file}: {name}: expected a positive number, found {value!r}")
    return LoraConfig(
        rank=rank, alpha=float(alpha), targets=targets, rslora=bool(fields.get("use_rslora"))
    )
