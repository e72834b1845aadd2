"""Decoder hyperparameters, read from and written to a Hugging Face ``config.json``."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen3ForCausalLM": "qwen3"}

# Fields that would change the mathematics, with the only values this decoder implements.
_REQUIRED_VALUES: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "attention_dropout": (0, 0.0, None),
    "use_sliding_window": (False, None),
    "pretraining_tp": (1, None),
    "partial_rotary_factor": (1, 1.0, None),
    "quantization_config": (None,),
    "logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
}


class UnsupportedModelError(ValueError):
    """The checkpoint needs mathematics that the decoder does not implement."""


@dataclasses.dataclass(frozen=True)
class Llama3RopeScaling:
    """Frequency scaling of Llama 3.1 and later; the names are those of ``rope_parameters``."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Geometry of a Llama or Qwen3 decoder. Hashable, so that modules holding it can be."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float
    rope_scaling: Llama3RopeScaling | None = None
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    max_position_embeddings: int = 32768
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UnsupportedModelError(
                f"architecture {self.architecture!r} is not supported; expected one of "
                f"{', '.join(ARCHITECTURES)}"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for rotary embeddings, found {self.head_dim}")

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are RMS-normalised per head (Qwen3)."""
        return ARCHITECTURES[self.architecture] == "qwen3"


def read_config(directory: str | pathlib.Path) -> DecoderConfig:
    """Reads ``config.json`` of a Hugging Face directory, written by transformers 4 or 5.

    Raises:
      FileNotFoundError: there is no ``config.json``.
      UnsupportedModelError: the architecture, rope type or another field asks for mathematics
        that the decoder does not implement; the message names the field and its value.
    """
    from transformers import AutoConfig

    file = pathlib.Path(directory) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: not found; expected a Hugging Face model directory")
    try:
        # AutoConfig turns rope_theta/rope_scaling (transformers 4) into rope_parameters (5).
        fields = AutoConfig.from_pretrained(str(directory)).to_dict()
    except (ValueError, KeyError) as error:
        raise UnsupportedModelError(f"{file}: {error}") from error
    return from_hf(fields, where=str(file))


def from_hf(fields: Mapping[str, Any], where: str = "config.json") -> DecoderConfig:
    """Builds a ``DecoderConfig`` from the fields of a transformers 5 configuration."""
    architectures = fields.get("architectures") or [
        name for name, family in ARCHITECTURES.items() if family == fields.get("model_type")
    ]
    if len(architectures) != 1 or architectures[0] not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"{where}: architectures is {architectures or fields.get('model_type')!r}; "
            f"expected one of {', '.join(ARCHITECTURES)}"
        )
    for name, allowed in _REQUIRED_VALUES.items():
        if fields.get(name) not in allowed:
            raise UnsupportedModelError(
                f"{where}: {name} is {fields[name]!r}; this decoder implements only {allowed[0]!r}"
            )
    for kind in fields.get("layer_types") or ():
        if kind != "full_attention":
            raise UnsupportedModelError(
                f"{where}: layer_types has {kind!r}; this decoder implements only 'full_attention'"
            )
    heads = fields["num_attention_heads"]
    eos = fields.get("eos_token_id")
    theta, scaling = _rope(fields, where)
    return DecoderConfig(
        architecture=architectures[0],
        vocab_size=fields["vocab_size"],
        hidden_size=fields["hidden_size"],
        intermediate_size=fields["intermediate_size"],
        num_layers=fields["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=fields.get("num_key_value_heads") or heads,
        head_dim=fields.get("head_dim") or fields["hidden_size"] // heads,
        rope_theta=theta,
        rope_scaling=scaling,
        rms_norm_eps=fields["rms_norm_eps"],
        tie_word_embeddings=bool(fields.get("tie_word_embeddings", False)),
        max_position_embeddings=fields["max_position_embeddings"],
        initializer_range=fields.get("initializer_range", 0.02),
        bos_token_id=fields.get("bos_token_id"),
        eos_token_id=tuple(eos) if isinstance(eos, list) else eos,
        pad_token_id=fields.get("pad_token_id"),
    )


def _rope(fields: Mapping[str, Any], where: str) -> tuple[float, Llama3RopeScaling | None]:
    parameters = fields.get("rope_parameters") or {}
    kind = parameters.get("rope_type", "default")
    if kind not in ("default", "llama3"):
        raise UnsupportedModelError(
            f"{where}: rope_type is {kind!r}; this decoder implements 'default' and 'llama3'"
        )
    if parameters.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise UnsupportedModelError(
            f"{where}: partial_rotary_factor is {parameters['partial_rotary_factor']!r}; "
            "this decoder implements only 1.0"
        )
    if "rope_theta" not in parameters:
        raise UnsupportedModelError(f"{where}: no rope_theta was found")
    names = [field.name for field in dataclasses.fields(Llama3RopeScaling)]
    if kind == "default":
        return float(parameters["rope_theta"]), None
    missing = [name for name in names if parameters.get(name) is None]
    if missing:
        raise UnsupportedModelError(f"{where}: rope_type 'llama3' lacks {', '.join(missing)}")
    scaling = Llama3RopeScaling(**{name: parameters[name] for name in names})
    return float(parameters["rope_theta"]), scaling


def to_hf(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The ``config.json`` fields of `config`, in a form that transformers 4 and 5 both read.

    transformers 5 reads ``rope_parameters`` and ``dtype``; transformers 4 reads ``rope_theta``,
    ``rope_scaling`` and ``torch_dtype`` and would silently fall back to theta 10000 without them.
    """
    scaling = None
    if config.rope_scaling is not None:
        scaling = {"rope_type": "llama3", **dataclasses.asdict(config.rope_scaling)}
    eos = config.eos_token_id
    fields = {
        "architectures": [config.architecture],
        "model_type": ARCHITECTURES[config.architecture],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": {
            **(scaling or {"rope_type": "default"}),
            "rope_theta": config.rope_theta,
        },
        "dtype": dtype,
        "torch_dtype": dtype,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "pad_token_id": config.pad_token_id,
        "use_cache": True,
    }
    if config.qk_norm:
        fields |= {"use_sliding_window": False, "sliding_window": None}
    else:
        fields |= {"mlp_bias": False, "pretraining_tp": 1}
    return fields
