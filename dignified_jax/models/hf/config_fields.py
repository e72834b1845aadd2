"""Fields of ``config.json`` that are read, and what their values may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dignified_jax.models.config import UnsupportedModelError
from dignified_jax.models.families.family import Family

# Fields that would change the mathematics, with the only values implemented.
_ONLY: dict[str, tuple[object, ...]] = {
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
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_ROPE = ("rope_scaling", "rope_parameters")
_READ = (*_SIZES, *_NUMBERS, *TOKENS, *_ROPE, "tie_word_embeddings", "layer_types", *_ONLY)
# Of families whose `windows` is True.
_WINDOWS = ("use_sliding_window", "max_window_layers")


def read_fields(family: Family) -> tuple[str, ...]:
    """Returns the fields that are read of a family's configuration."""
    return (*_READ, *family.reads, *(_WINDOWS if family.windows else ()))


def check_values(fields: Mapping[str, Any], family: Family, where: str) -> None:
    """Checks the fields that would change the mathematics.

    Raises:
      UnsupportedModelError: one has a value that is not implemented.
    """
    switch = {"use_sliding_window": (True, False, None)} if family.windows else {}
    for name, allowed in (_ONLY | switch | dict(family.only)).items():
        if fields.get(name) not in allowed:
            raise UnsupportedModelError(
                f"{where}: {name} is {short(fields[name])}; this decoder implements only "
                f"{allowed[0]!r}"
            )


def check_types(fields: Mapping[str, Any], family: Family, where: str) -> None:
    """Checks the kind and range of each field, which transformers tells late or in many lines.

    Raises:
      UnsupportedModelError: names the field, what was expected and what was found.
    """
    read = set(read_fields(family))
    sizes = {n: most for n, most in (_SIZES | _FAMILY_SIZES).items() if n in read}
    numbers = {name for name in (*_NUMBERS, *_FAMILY_NUMBERS) if name in read}

    def refuse(name: str, wanted: str) -> None:
        raise UnsupportedModelError(
            f"{where}: {name}: expected {wanted}, found {short(fields[name])}"
        )

    for name in fields.keys() & set(sizes):
        value, most = fields[name], sizes[name]
        if value is None and name in _OPTIONAL_SIZES:
            continue
        if not is_whole(value) or not 1 <= value <= most:
            refuse(name, f"a whole number from 1 to {most}")
    for name in fields.keys() & numbers:
        value = fields[name]
        if not (is_whole(value) or isinstance(value, float)) or not 0 < value < math.inf:
            refuse(name, "a positive number")
    for name in fields.keys() & {"bos_token_id", "pad_token_id"}:
        if fields[name] is not None and not is_whole(fields[name]):
            refuse(name, "a whole number or null")
    eos = fields.get("eos_token_id")
    if not all(map(is_whole, eos if isinstance(eos, list) else [] if eos is None else [eos])):
        refuse("eos_token_id", "a whole number, a list of them or null")
    for name in fields.keys() & set(_ROPE):
        if fields[name] is not None and not isinstance(fields[name], dict):
            refuse(name, "an object or null")
    for name in fields.keys() & {"tie_word_embeddings", *({"norm_topk_prob"} & read)}:
        if not isinstance(fields[name], bool):
            refuse(name, "true or false")
    if not isinstance(fields.get("layer_types") or [], list):
        refuse("layer_types", "a list or null")


def is_whole(value: object) -> bool:
    """Returns whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def short(value: object) -> str:
    """Returns a value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
