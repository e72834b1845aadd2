"""Llama 2, 3, 3.1 and 3.2, and whatever has their architecture (SmolLM2, TinyLlama, ...)."""

from dignified_jax.models.families.family import Family

FAMILY = Family(
    architecture="LlamaForCausalLM",
    model_type="llama",
    write=lambda config: {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1},
)
