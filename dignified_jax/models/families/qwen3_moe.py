"""Qwen3, mixtures of experts, in every layer."""

from __future__ import annotations

from typing import Any

from dignified_jax.models.config import DecoderConfig, Experts
from dignified_jax.models.families.family import Family, Fields
from dignified_jax.models.layers import Traits

_FIELDS = {
    "num_experts": "count",
    "num_experts_per_tok": "per_token",
    "moe_intermediate_size": "intermediate_size",
    "norm_topk_prob": "normalised",
}


def _read(fields: Fields, where: str) -> dict[str, Any]:
    # transformers 5 calls num_experts so.
    known = {"num_experts": fields.get("num_local_experts"), **fields}
    return {"experts": Experts(**{ours: known[name] for name, ours in _FIELDS.items()})}


def _write(config: DecoderConfig) -> dict[str, Any]:
    return {
        **{name: getattr(config.experts, ours) for name, ours in _FIELDS.items()},
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": None,
    }


FAMILY = Family(
    architecture="Qwen3MoeForCausalLM",
    model_type="qwen3_moe",
    traits=Traits(qk_norm=True),
    reads=(*_FIELDS, "num_local_experts"),
    read=_read,
    write=_write,
    only={"decoder_sparse_step": (1, None), "mlp_only_layers": ([], None)},
)
