"""Reading and writing ``config.json``, in the forms of transformers 4 and 5."""

from __future__ import annotations

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
from dignified_jax.models.hf.config_fields import (
    TOKENS,
    check_types,
    check_values,
    read_fields,
    short,
)
from dignified_jax.models.hf.position_fields import (
    read_rope,
    read_windows,
    write_rope,
    write_windows,
)

# What the outer configuration of a `Wrapper` says of the text model as well.
_OUTER = (*TOKENS, "tie_word_embeddings", "quantization_config", "transformers_weights")


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
    check_types(fields, family, where)
    check_values(fields, family, where)
    known = _with_defaults(fields, family, where)
    heads = known["num_attention_heads"]
    eos = known.get("eos_token_id")
    pad = known.get("pad_token_id")
    values = {
        "architecture": family.architecture,
        "vocab_size": known["vocab_size"],
        "hidden_size": known["hidden_size"],
        "intermediate_size": known["intermediate_size"],
        "num_layers": known["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": known.get("num_key_value_heads") or heads,
        "head_dim": known.get("head_dim") or known["hidden_size"] // heads,
        "rms_norm_eps": known["rms_norm_eps"],
        "tie_word_embeddings": known.get("tie_word_embeddings", False),
        "max_position_embeddings": known["max_position_embeddings"],
        "initializer_range": known.get("initializer_range", 0.02),
        "bos_token_id": known.get("bos_token_id"),
        "eos_token_id": tuple(eos) if isinstance(eos, list) else eos,
        # Some say -1 for none; transformers can't load an index beyond the vocabulary.
        "pad_token_id": pad if pad is not None and 0 <= pad < known["vocab_size"] else None,
        **read_windows(known, family, where),
        **read_rope(known.get("rope_parameters") or {}, where),
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
        found = "none" if kind is None else short(kind)
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
            f"{where}: architectures is {short(stated)}; expected {architecture} with "
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
            f"{short(text)}"
        )
    if text.get("model_type", family.model_type) != family.model_type:
        raise UnsupportedModelError(
            f"{where}: {wrapper.fields}.model_type: expected {family.model_type!r}, found "
            f"{short(text['model_type'])}"
        )
    return {**text, **{name: fields[name] for name in _OUTER if name in fields}}


def _with_defaults(fields: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """The fields that are read here, with transformers' defaults for absent ones.

    It turns rope_theta and rope_scaling (transformers 4) into rope_parameters (5) as well.
    """
    with entry.light_imports():
        from transformers import AutoConfig, logging

    wanted = {name: fields[name] for name in read_fields(family) if name in fields}
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


def to_hf(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The ``config.json`` fields of `config`, in a form that transformers 4 and 5 both read.

    transformers 5 reads ``rope_parameters`` and ``dtype``; transformers 4 reads ``rope_theta``,
    ``rope_scaling`` and ``torch_dtype`` and would silently fall back to theta 10000 without them.
    """
    family = families.of(config.architecture)
    eos = config.eos_token_id
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
        **write_rope(config),
        "dtype": dtype,
        "torch_dtype": dtype,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
        "pad_token_id": config.pad_token_id,
        "use_cache": True,
        **(write_windows(config) if family.windows else {}),
        **family.write(config),
    }
