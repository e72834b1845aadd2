"""Tiny random checkpoints that transformers itself builds and writes."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

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
}


def build(family, seed=0, scale=8.0, **overrides):
    """A random transformers model; weights large enough that positions matter in the logits."""
    torch.manual_seed(seed)
    config = FAMILIES[family]()
    for name, value in overrides.items():
        setattr(config, name, value)
    cls = Qwen3ForCausalLM if config.model_type == "qwen3" else LlamaForCausalLM
    model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1.0 + 0.3 * torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
    return model


def logits(model, tokens):
    """(batch, length, vocab) NumPy logits of a transformers model."""
    with torch.no_grad():
        return model(torch.as_tensor(tokens)).logits.float().numpy()
