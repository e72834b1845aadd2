"""Fields of ``config.json`` on positions: rotary embeddings, and layers with a sliding window."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from dignified_jax.models.config import DecoderConfig, UnsupportedModelError
from dignified_jax.models.families.family import Family
from dignified_jax.models.hf.config_fields import is_whole, short
from dignified_jax.models.rotary import SCALINGS, RopeScaling

FULL, SLIDING = "full_attention", "sliding_attention"


def read_windows(known: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    """The fields of `DecoderConfig` that say which layers have a sliding window."""
    kinds, layers = known.get("layer_types") or [], known["num_hidden_layers"]
    allowed = (FULL, SLIDING) if family.windows else (FULL,)
    for kind in kinds:
        if kind not in allowed:
            raise UnsupportedModelError(
                f"{where}: layer_types has {kind!r}; of {family.model_type} this decoder "
                f"implements {' and '.join(map(repr, allowed))}"
            )
    sliding = tuple(layer for layer, kind in enumerate(kinds) if kind == SLIDING)
    if not sliding:
        return {}
    if len(kinds) != layers:
        raise UnsupportedModelError(
            f"{where}: layer_types: expected {layers} entries, found {len(kinds)}"
        )
    if known.get("sliding_window") is None or not known.get("use_sliding_window", True):
        raise UnsupportedModelError(
            f"{where}: layer_types has {SLIDING!r}, but sliding_window is null or "
            "use_sliding_window false"
        )
    where_it_slides = {} if len(sliding) == layers else {"sliding_layers": sliding}
    return {"sliding_window": known["sliding_window"], **where_it_slides}


def read_rope(parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of `DecoderConfig` on rotary embeddings, out of ``rope_parameters``."""
    local = None
    if parameters.keys() & {FULL, SLIDING}:  # a rotary embedding for each kind of layer
        local = _local_theta(parameters.get(SLIDING) or {}, where)
        parameters = parameters.get(FULL) or {}
    theta, scaling = _read_scaling(parameters, where)
    return {"rope_theta": theta, "rope_scaling": scaling, "local_rope_theta": local}


def _local_theta(parameters: Mapping[str, Any], where: str) -> float:
    theta, scaling = _read_scaling(parameters, where)
    if scaling is not None:
        raise UnsupportedModelError(
            f"{where}: rope_parameters.{SLIDING} is {short(dict(parameters))}; this decoder "
            "implements only rope_type 'default' in layers with a sliding window"
        )
    return theta


def _read_scaling(parameters: Mapping[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    kind = parameters.get("rope_type", "default")
    if kind not in ("default", *SCALINGS):
        raise UnsupportedModelError(
            f"{where}: rope_type is {short(kind)}; this decoder implements 'default', "
            f"{', '.join(map(repr, SCALINGS))}"
        )
    if parameters.get("partial_rotary_factor") not in (None, 1):
        raise UnsupportedModelError(
            f"{where}: partial_rotary_factor is {short(parameters['partial_rotary_factor'])}; "
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
        number = is_whole(value) or (isinstance(value, float) and math.isfinite(value))
        if not (isinstance(value, bool) if name == "truncate" else number and value > 0):
            raise UnsupportedModelError(
                f"{where}: {name}: expected a positive number, found {short(parameters[name])}"
            )
    theta = float(stated["rope_theta"])
    if kind == "default":
        return theta, None
    return theta, SCALINGS[kind](**{name: stated[name] for name in names if name in stated})


def write_rope(config: DecoderConfig) -> dict[str, Any]:
    """The fields of ``config.json`` on rotary embeddings, for transformers 4 and 5."""
    scaling = None
    if config.rope_scaling is not None:
        kind = next(k for k, v in SCALINGS.items() if v is type(config.rope_scaling))
        values = dataclasses.asdict(config.rope_scaling)
        scaling = {"rope_type": kind, **{k: v for k, v in values.items() if v is not None}}
    rope = {**(scaling or {"rope_type": "default"}), "rope_theta": config.rope_theta}
    local = {}
    if config.local_rope_theta is not None:
        theta = config.local_rope_theta
        local = {"rope_local_base_freq": theta}
        rope = {FULL: rope, SLIDING: {"rope_type": "default", "rope_theta": theta}}
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": rope,
        **local,
    }


def write_windows(config: DecoderConfig) -> dict[str, Any]:
    """The fields of ``config.json`` on sliding windows, of a family that has some."""
    if config.sliding_window is None:
        return {"use_sliding_window": False, "sliding_window": None}
    kinds = [FULL if window is None else SLIDING for window in config.windows]
    first = kinds.index(SLIDING)
    # The older way to say it, where it can.
    older = {"max_window_layers": first} if FULL not in kinds[first:] else {}
    return {
        "use_sliding_window": True,
        "sliding_window": config.sliding_window,
        "layer_types": kinds,
        **older,
    }
