"""Tiny random checkpoints that transformers itself builds and writes."""

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

_SIZES = {
    "vocab_size": 131,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES = {
    "llama2": lambda: LlamaConfig(
        **_SIZES | {"num_key_value_heads": 4},
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "llama3": lambda: LlamaConfig(
        **_SIZES,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    ),
    "llama3.1": lambda: LlamaConfig(
        **_SIZES, max_position_embeddings=256, rope_parameters=dict(LLAMA3_ROPE)
    ),
    "llama3.2": lambda: LlamaConfig(
        **_SIZES,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        head_dim=16,
        rope_parameters=dict(LLAMA3_ROPE) | {"factor": 32.0},
    ),
    "qwen3": lambda: Qwen3Config(
        **_SIZES,
        head_dim=16,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    ),
    "qwen3-tied": lambda: Qwen3Config(
        **_SIZES,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 5000000.0},
    ),
    "qwen2.5": lambda: Qwen2Config(
        **_SIZES,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    ),
    "mistral": lambda: MistralConfig(
        **_SIZES,
        max_position_embeddings=256,
        sliding_window=7,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "smollm3": lambda: SmolLM3Config(
        **_SIZES,
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        max_position_embeddings=256,
        no_rope_layer_interval=2,
        rope_parameters={"rope_type": "default", "rope_theta": 5000000.0},
    ),
    "qwen2.5 with windows": lambda: Qwen2Config(
        **_SIZES,
        max_position_embeddings=256,
        use_sliding_window=True,
        sliding_window=7,
        max_window_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **_SIZES,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=256,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    ),
    "qwen3-moe": lambda: Qwen3MoeConfig(
        **_SIZES,
        head_dim=16,
        num_experts=6,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        norm_topk_prob=True,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    ),
}
# Ways to stretch the context, of whatever family.
ROPES = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "factor": 3.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    "yarn with bounds": {
        **{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        **{"beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.3, "truncate": False},
    },
    "yarn with mscale": {
        **{"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32},
        **{"mscale": 0.7, "mscale_all_dim": 1.0},
    },
}


def build(family, seed=0, scale=8.0, **overrides):
    """A random transformers model; weights large enough that positions matter in the logits."""
    torch.manual_seed(seed)
    config = FAMILIES[family]()
    for name, value in overrides.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1.0 + 0.3 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
    return model


def logits(model, tokens):
    """(batch, length, vocab) NumPy logits of a transformers model."""
    with torch.no_grad():
        return model(torch.as_tensor(tokens)).logits.float().numpy()
