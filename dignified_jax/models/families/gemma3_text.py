"""Gemma 3, its text: four norms a layer, windows and two rotary bases (Gemma Team, 2025).

Layers with a sliding window, five of six, have a rotary base of their own.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
from flax import linen as nn

from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.families.family import Family, Fields, Wrapper
from dignified_jax.models.layers import (
    Attention,
    Block,
    Layer,
    RMSNorm,
    RowContext,
    Traits,
    feed_forward,
)

_ACTIVATION = "gelu_pytorch_tanh"


class GemmaBlock(Block):
    """One layer: what attention and feed-forward network give is normed too before it is added."""

    @nn.compact
    def __call__(
        self, x: jax.Array, rows: RowContext, layer: Layer
    ) -> tuple[jax.Array, ExpertLoad | None]:
        """The layer's output and load; arguments as `Block`."""
        angles, tree = rows.of(layer)
        kind = (self.config, self.traits, self.dtype, self.lora, self.tensor)
        norm = functools.partial(RMSNorm, self.config.rms_norm_eps, self.traits.norm_offset)
        normed = norm(name="input_layernorm")(x)
        mixed = Attention(*kind, self.attention, name="self_attn")(normed, angles, tree)
        x = x + norm(name="post_attention_layernorm")(mixed)
        normed = norm(name="pre_feedforward_layernorm")(x)
        added, load = feed_forward(*kind)(normed, tree)
        return x + norm(name="post_feedforward_layernorm")(added), load


def _read(fields: Fields, where: str) -> dict[str, Any]:
    return {"query_pre_attn_scalar": fields["query_pre_attn_scalar"]}


def _write(config: DecoderConfig) -> dict[str, Any]:
    kinds = {}
    if config.sliding_window is None:  # by default most layers have one, and there has to be one
        kinds = {
            "layer_types": ["full_attention"] * config.num_layers,
            "sliding_window": config.max_position_embeddings,
        }
    return {
        "hidden_act": _ACTIVATION,
        "hidden_activation": _ACTIVATION,
        "query_pre_attn_scalar": config.query_pre_attn_scalar or config.head_dim,
        "attention_bias": False,
        "use_bidirectional_attention": False,
        **kinds,
    }


FAMILY = Family(
    architecture="Gemma3ForCausalLM",
    model_type="gemma3_text",
    traits=Traits(qk_norm=True, norm_offset=1.0, activation=nn.gelu),
    layer=GemmaBlock,
    embedding_scale=lambda config: math.sqrt(config.hidden_size),
    windows=True,
    wrapper=Wrapper(
        architecture="Gemma3ForConditionalGeneration",
        model_type="gemma3",
        fields="text_config",
        prefixes=("model.language_model.", "language_model."),
        others=tuple(
            f"{prefix}{part}."
            for prefix in ("", "model.")
            for part in ("vision_tower", "multi_modal_projector")
        ),
    ),
    reads=(
        *("hidden_activation", "query_pre_attn_scalar", "rope_local_base_freq"),
        *("sliding_window_pattern", "use_bidirectional_attention"),
    ),
    read=_read,
    write=_write,
    only={
        "hidden_act": (_ACTIVATION, None),
        "hidden_activation": (_ACTIVATION, None),
        "use_bidirectional_attention": (False, None),
    },
)
