"""Reading and writing ``config.json``, in the forms of transformers 4 and 5."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

from dignified_jax.console import entry
from dignified_jax.files.model_directory import locate, read_object
from dignified_jax.models import families
from dignified_jax.models.config import DecoderConfig, UnsupportedModelError
from dignified_jax.models.families.family import Family
from dignified_jax.models.families.unsupported import MISSING
from dignified_jax.models.rotary import SCALINGS, RopeScaling

# Fields that would change the mathematics, with the only values implemented.
_ONLY: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "attention_dropout": (0, None),
    "use_sliding_window": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "logit_softcapping": (None,),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "transformers_weights": (None,),
}
# Sizes have to be whole numbers, and a nonsensical one should not be tried.
_MOST = 2**31 - 1
_SIZES = {
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 2**24),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim"), 2**16),
    "num_hidden_layers": 2**13,
    "max_position_embeddings": _MOST,
    "sliding_window": _MOST,
}
_OPTIONAL_SIZES = ("num_key_value_heads", "head_dim", "sliding_window")
_NUMBERS = ("rms_norm_eps", "initializer_range", "rope_theta")
# Of families that say they read them.
_FAMILY_SIZES = {
    **dict.fromkeys(("num_experts", "num_local_experts", "num_experts_per_tok"), 2**16),
    "moe_intermediate_size": 2**24,
    **dict.fromkeys(("max_window_layers", "sliding_window_pattern"), _MOST),
}
_FAMILY_NUMBERS = ("query_pre_attn_scalar", "rope_local_base_freq")
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_ROPE = ("rope_scaling", "rope_parameters")
_READ = (*_SIZES, *_NUMBERS, *_TOKENS, *_ROPE, "tie_word_embeddings", "layer_types", *_ONLY)
# Of families whose `windows` is True.
_WINDOWS = ("use_sliding_window", "max_window_layers")
# What the outer configuration of a `Wrapper` says of the text model as well.
_OUTER = (*_TOKENS, "tie_word_embeddings", "quantization_config", "transformers_weights")
_FULL, _SLIDING = "full_attention", "sliding_attention"


def read_config(directory: str | pathlib.Path) -> DecoderConfig:
    """Reads ``config.json`` of a Hugging Face directory, written by transformers 4 or 5.

    Raises:
      FileNotFoundError: there is no ``config.json``.
      UnsupportedModelError: the architecture, rope type or another field asks for mathematics
        that the decoder does not implement, or has a value that can't be; the message names the
        field and its value.
      ModelFileError: the file is not readable, or lies outside the directory.
    """
    file = locate(directory, "config.json")
    if file is None:
        raise FileNotFoundError(
            f"{pathlib.Path(directory) / 'config.json'}: not found; expected a Hugging Face model "
            "directory"
        )
    return from_hf(read_object(file), where=str(file))


def is_wrapped(directory: str | pathlib.Path) -> bool:
    """Says whether a directory that `read_config` reads is of more than text (`Wrapper`)."""
    file = locate(directory, "config.json")
    kinds = {f.wrapper.model_type for f in families.known() if f.wrapper is not None}
    return file is not None and read_object(file).get("model_type") in kinds


def from_hf(fields: Mapping[str, Any], where: str = "config.json") -> DecoderConfig:
    """Builds a ``DecoderConfig`` from the fields of a transformers 4 or 5 configuration.

    Raises:
      UnsupportedModelError: as `read_config`.
    """
    family = _family(fields, where)
    fields = _text_fields(fields, family, where)
    _check_types(fields, family, where)
    switch = {"use_sliding_window": (True, False, None)} if family.windows else {}
    for name, allowed in (_ONLY | switch | dict(family.only)).items():
        if fields.get(name) not in allowed:
            raise UnsupportedModelError(
                f"{where}: {name} is {_short(fields[name])}; this decoder implements only "
                f"{allowed[0]!r}"
            )
    known = _with_defaults(fields, family, where)
    heads = known["num_attention_heads"]
    eos = known.get("eos_token_id")
    pad = known.get("pad_token_id")
    windows = _windows(known, family, where)
    rope = known.get("rope_parameters") or {}
    local = None
    if rope.keys() & {_FULL, _SLIDING}:  # a rotary embedding for each kind of layer
        local = _local_theta(rope.get(_SLIDING) or {}, where)
        rope = rope.get(_FULL) or {}
    theta, scaling = _rope(rope, where)
    values = {
        "architecture": family.architecture,
        "vocab_size": known["vocab_size"],
        "hidden_size": known["hidden_size"],
        "intermediate_size": known["intermediate_size"],
        "num_layers": known["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": known.get("num_key_value_heads") or heads,
        "head_dim": known.get("head_dim") or known["hidden_size"] // heads,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "local_rope_theta": local,
        "rms_norm_eps": known["rms_norm_eps"],
        "tie_word_embeddings": known.get("tie_word_embeddings", False),
        "max_position_embeddings": known["max_position_embeddings"],
        "initializer_range": known.get("initializer_range", 0.02),
        "bos_token_id": known.get("bos_token_id"),
        "eos_token_id": tuple(eos) if isinstance(eos, list) else eos,
        # Some say -1 for none; transformers can't load an index beyond the vocabulary.
        "pad_token_id": pad if pad is not None and 0 <= pad < known["vocab_size"] else None,
        **windows,
    }
    try:
        return DecoderConfig(**values | family.read(known, where))
    except UnsupportedModelError:
        raise
    except ValueError as error:
        raise UnsupportedModelError(f"{where}: {error}") from error


def _family(fields: Mapping[str, Any], where: str) -> Family:
    kind, stated = fields.get("model_type"), fields.get("architectures")
    wrappers = {f.wrapper.model_type: f for f in families.known() if f.wrapper is not None}
    supported = ", ".join([*(family.model_type for family in families.known()), *wrappers])
    if not isinstance(kind, str):
        found = "none" if kind is None else _short(kind)
        raise UnsupportedModelError(
            f"{where}: model_type: expected one of {supported}, found {found}"
        )
    family = next((f for f in families.known() if f.model_type == kind), wrappers.get(kind))
    if family is None:
        missing = f"{MISSING[kind]} are missing here" if kind in MISSING else "it is not known here"
        raise UnsupportedModelError(
            f"{where}: model_type is {kind!r}: {missing}; expected one of {supported}"
        )
    stated = [] if stated is None else stated
    # transformers goes by model_type; the name can be spelt otherwise, or be the headless model's.
    architecture = family.wrapper.architecture if kind in wrappers else family.architecture
    stem = re.sub("For[A-Z].*", "", architecture)
    allowed = {architecture, f"{stem}Model", f"{stem}TextModel"}
    named = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else None
    if named is None or any(name.lower() not in map(str.lower, allowed) for name in named):
        raise UnsupportedModelError(
            f"{where}: architectures is {_short(stated)}; expected {architecture} with "
            f"model_type {kind!r}"
        )
    return family


def _text_fields(fields: Mapping[str, Any], family: Family, where: str) -> Mapping[str, Any]:
    """Those of the text model, where a configuration is of more than that."""
    wrapper = family.wrapper
    if wrapper is None or fields["model_type"] != wrapper.model_type:
        return fields
    text = fields.get(wrapper.fields)
    if not isinstance(text, Mapping):
        raise UnsupportedModelError(
            f"{where}: {wrapper.fields}: expected an object with the text model's fields, found "
            f"{_short(text)}"
        )
    if text.get("model_type", family.model_type) != family.model_type:
        raise UnsupportedModelError(
            f"{where}: {wrapper.fields}.model_type: expected {family.model_type!r}, found "
            f"{_short(text['model_type'])}"
        )
    return {**text, **{name: fields[name] for name in _OUTER if name in fields}}


def _check_types(fields: Mapping[str, Any], family: Family, where: str) -> None:
    """transformers says the same in many lines, or fails later."""
    read = {*_READ, *family.reads, *(_WINDOWS if family.windows else ())}
    sizes = {n: most for n, most in (_SIZES | _FAMILY_SIZES).items() if n in read}
    numbers = {name for name in (*_NUMBERS, *_FAMILY_NUMBERS) if name in read}

    def refuse(name: str, wanted: str) -> None:
        raise UnsupportedModelError(
            f"{where}: {name}: expected {wanted}, found {_short(fields[name])}"
        )

    for name in fields.keys() & set(sizes):
        value, most = fields[name], sizes[name]
        if value is None and name in _OPTIONAL_SIZES:
            continue
        if not _whole(value) or not 1 <= value <= most:
            refuse(name, f"a whole number from 1 to {most}")
    for name in fields.keys() & numbers:
        value = fields[name]
        if not (_whole(value) or isinstance(value, float)) or not 0 < value < math.inf:
            refuse(name, "a positive number")
    for name in fields.keys() & {"bos_token_id", "pad_token_id"}:
        if fields[name] is not None and not _whole(fields[name]):
            refuse(name, "a whole number or null")
    eos = fields.get("eos_token_id")
    if not all(map(_whole, eos if isinstance(eos, list) else [] if eos is None else [eos])):
        refuse("eos_token_id", "a whole number, a list of them or null")
    for name in fields.keys() & set(_ROPE):
        if fields[name] is not None and not isinstance(fields[name], dict):
            refuse(name, "an object or null")
    for name in fields.keys() & {"tie_word_embeddings", *({"norm_topk_prob"} & read)}:
        if not isinstance(fields[name], bool):
            refuse(name, "true or false")
    if not isinstance(fields.get("layer_types") or [], list):
        refuse("layer_types", "a list or null")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _with_defaults(fields: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """The fields that are read here, with transformers' defaults for absent ones.

    It turns rope_theta and rope_scaling (transformers 4) into rope_parameters (5) as well.
    """
    with entry.light_imports():
        from transformers import AutoConfig, logging

    read = (*_READ, *family.reads, *(_WINDOWS if family.windows else ()))
    wanted = {name: fields[name] for name in read if name in fields}
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what is wrong is told here, once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AutoConfig.for_model(family.model_type, **wanted).to_dict()
    except Exception as error:  # of several libraries, some with a page of text
        reason = next(iter(str(error).strip().splitlines()[-1:]), type(error).__name__)
        raise UnsupportedModelError(f"{where}: {reason.strip()}") from error
    finally:
        logging.set_verbosity(before)


def _windows(known: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """The fields of `DecoderConfig` that say which layers have a sliding window."""
    kinds, layers = known.get("layer_types") or [], known["num_hidden_layers"]
    allowed = (_FULL, _SLIDING) if family.windows else (_FULL,)
    for kind in kinds:
        if kind not in allowed:
            raise UnsupportedModelError(
                f"{where}: layer_types has {kind!r}; of {family.model_type} this decoder "
                f"implements {' and '.join(map(repr, allowed))}"
            )
    sliding = tuple(layer for layer, kind in enumerate(kinds) if kind == _SLIDING)
    if not sliding:
        return {}
    if len(kinds) != layers:
        raise UnsupportedModelError(
            f"{where}: layer_types: expected {layers} entries, found {len(kinds)}"
        )
    if known.get("sliding_window") is None or not known.get("use_sliding_window", True):
        raise UnsupportedModelError(
            f"{where}: layer_types has {_SLIDING!r}, but sliding_window is null or "
            "use_sliding_window false"
        )
    where_it_slides = {} if len(sliding) == layers else {"sliding_layers": sliding}
    return {"sliding_window": known["sliding_window"], **where_it_slides}


def _local_theta(parameters: Mapping[str, Any], where: str) -> float:
    theta, scaling = _rope(parameters, where)
    if scaling is not None:
        raise UnsupportedModelError(
            f"{where}: rope_parameters.{_SLIDING} is {_short(dict(parameters))}; this decoder "
            "implements only rope_type 'default' in layers with a sliding window"
        )
    return theta


def _rope(parameters: Mapping[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    kind = parameters.get("rope_type", "default")
    if kind not in ("default", *SCALINGS):
        raise UnsupportedModelError(
            f"{where}: rope_type is {_short(kind)}; this decoder implements 'default', "
            f"{', '.join(map(repr, SCALINGS))}"
        )
    if parameters.get("partial_rotary_factor") not in (None, 1):
        raise UnsupportedModelError(
            f"{where}: partial_rotary_factor is {_short(parameters['partial_rotary_factor'])}; "
            "this decoder implements only 1.0"
        )
    if "rope_theta" not in parameters:
        raise UnsupportedModelError(f"{where}: no rope_theta was found")
    stated = {name: value for name, value in parameters.items() if value is not None}
    names = {} if kind == "default" else {f.name: f for f in dataclasses.fields(SCALINGS[kind])}
    missing = [n for n, f in names.items() if f.default is dataclasses.MISSING and n not in stated]
    if missing:
        raise UnsupportedModelError(f"{where}: rope_type {kind!r} lacks {', '.join(missing)}")
    for name in ("rope_theta", *(name for name in names if name in stated)):
        value = stated.get(name)
        number = _whole(value) or (isinstance(value, float) and math.isfinite(value))
        if not (isinstance(value, bool) if name == "truncate" else number and value > 0):
            raise UnsupportedModelError(
                f"{where}: {name}: expected a positive number, found {_short(parameters[name])}"
            )
    theta = float(stated["rope_theta"])
    if kind == "default":
        return theta, None
    return theta, SCALINGS[kind](**{name: stated[name] for name in names if name in stated})


def to_hf(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The ``config.json`` fields of `config`, in a form that transformers 4 and 5 both read.

    transformers 5 reads ``rope_parameters`` and ``dtype``; transformers 4 reads ``rope_theta``,
    ``rope_scaling`` and ``torch_dtype`` and would silently fall back to theta 10000 without them.
    """
    family = families.of(config.architecture)
    scaling = None
    if config.rope_scaling is not None:
        kind = next(k for k, v in SCALINGS.items() if v is type(config.rope_scaling))
        values = dataclasses.asdict(config.rope_scaling)
        scaling = {"rope_type": kind, **{k: v for k, v in values.items() if v is not None}}
    eos = config.eos_token_id
    rope = {**(scaling or {"rope_type": "default"}), "rope_theta": config.rope_theta}
    local = {}
    if config.local_rope_theta is not None:
        theta = config.local_rope_theta
        local = {"rope_local_base_freq": theta}
        rope = {_FULL: rope, _SLIDING: {"rope_type": "default", "rope_theta": theta}}
    return {
        "architectures": [config.architecture],
        "model_type": family.model_type,
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
        "attention_dropout": 0.0,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": rope,
        **local,
        "dtype": dtype,
        "torch_dtype": dtype,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "pad_token_id": config.pad_token_id,
        "use_cache": True,
        **(_window_fields(config) if family.windows else {}),
        **family.write(config),
    }


def _window_fields(config: DecoderConfig) -> dict[str, Any]:
    if config.sliding_window is None:
        return {"use_sliding_window": False, "sliding_window": None}
    kinds = [_FULL if window is None else _SLIDING for window in config.windows]
    first = kinds.index(_SLIDING)
    # The older way to say it, where it can.
    older = {"max_window_layers": first} if _FULL not in kinds[first:] else {}
    return {
        "use_sliding_window": True,
        "sliding_window": config.sliding_window,
        "layer_types": kinds,
        **older,
    }
