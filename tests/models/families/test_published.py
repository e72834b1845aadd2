"""Configurations as models of these families are published with: sizes and traits."""

import jax
import pytest

from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.hf.config import from_hf, to_hf
from dignified_jax.training.step import flops

_TEXT = {"model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}


def gemma(**text):
    """A checkpoint with images, which says little of its text."""
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "eos_token_id": [1, 106],
        "text_config": _TEXT | {"sliding_window": 1024} | text,
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152},
    }


PUBLISHED = {
    "gemma-3-1b": {
        **{"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text"},
        **{"hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26},
        **{"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256},
        **{"vocab_size": 262144, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6},
        **{"rope_theta": 1000000, "rope_local_base_freq": 10000, "rope_scaling": None},
        **{"sliding_window": 512, "sliding_window_pattern": 6, "query_pre_attn_scalar": 256},
        **{"attn_logit_softcapping": None, "final_logit_softcapping": None},
        **{"hidden_activation": "gelu_pytorch_tanh", "cache_implementation": "hybrid"},
    },
    "gemma-3-4b": gemma(hidden_size=2560, intermediate_size=10240, num_hidden_layers=34),
    "gemma-3-27b": gemma(
        **{"hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62},
        **{"num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128},
        query_pre_attn_scalar=168,
    ),
    "qwen3-30b-a3b": {
        **{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"},
        **{"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48},
        **{"num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128},
        **{"vocab_size": 151936, "max_position_embeddings": 262144, "rms_norm_eps": 1e-6},
        **{"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
        **{"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
        **{"sliding_window": None, "use_sliding_window": False, "max_window_layers": 48},
        **{"rope_theta": 10000000, "rope_scaling": None, "hidden_act": "silu"},
        **{"router_aux_loss_coef": 0.001, "output_router_logits": False},
    },
}


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("gemma-3-1b", 1.000),
        ("gemma-3-4b", 3.880),
        ("gemma-3-27b", 27.01),
        ("qwen3-30b-a3b", 30.53),
    ],
)
def test_the_parameters_are_as_many_as_published(name, billions):
    """Of Gemma without the vision tower; in four digits. What is written is read as the same."""
    config = from_hf(PUBLISHED[name])
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))
    assert count / 1e9 == pytest.approx(billions, rel=2e-3)
    assert from_hf(to_hf(config, "bfloat16")) == config


def test_gemma_has_a_window_in_five_layers_of_six():
    config = from_hf(PUBLISHED["gemma-3-4b"])
    assert config.windows[:12] == (1024,) * 5 + (None,) + (1024,) * 5 + (None,)
    assert (config.rope_theta, config.local_rope_theta) == (1e6, 1e4)
    assert config.rope_scaling.factor == 8.0 and config.eos_token_id == (1, 106)
    assert config.query_scale == 1.0
    assert from_hf(PUBLISHED["gemma-3-27b"]).query_scale == pytest.approx((128 / 168) ** 0.5)


def test_three_billion_of_thirty_are_active():
    """3.35 billion, of which embedding and head have 0.62."""
    config = from_hf(PUBLISHED["qwen3-30b-a3b"])
    outer = 2 * config.vocab_size * config.hidden_size
    assert (flops._matrices(config) + outer) / 1e9 == pytest.approx(3.35, rel=2e-3)
