"""SmolLM3: some layers, by default every fourth, have no rotary embeddings.

Yang et al., "RoPE to NoPE and Back Again" (2025).
"""

from __future__ import annotations

from typing import Any

from dignified_jax.models.config import DecoderConfig, UnsupportedModelError
from dignified_jax.models.families.family import Family, Fields


def _read(fields: Fields, where: str) -> dict[str, Any]:
    # 1 where a layer has rotary embeddings, whatever the field's name says.
    rotates, layers = fields["no_rope_layers"], fields["num_hidden_layers"]
    if not isinstance(rotates, list) or len(rotates) != layers or set(rotates) - {0, 1}:
        raise UnsupportedModelError(
            f"{where}: no_rope_layers: expected {layers} entries of 0 or 1, found {rotates!r}"
        )
    return {"no_rope_layers": tuple(n for n, rotated in enumerate(rotates) if not rotated)}


def _write(config: DecoderConfig) -> dict[str, Any]:
    without = set(config.no_rope_layers)
    return {
        "no_rope_layers": [int(layer not in without) for layer in range(config.num_layers)],
        "attention_bias": False,
        "mlp_bias": False,
    }


FAMILY = Family(
    architecture="SmolLM3ForCausalLM",
    model_type="smollm3",
    windows=True,
    reads=("no_rope_layers", "no_rope_layer_interval"),
    read=_read,
    write=_write,
)
