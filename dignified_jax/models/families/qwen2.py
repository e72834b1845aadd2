"""Qwen2 and Qwen2.5, dense: queries, keys and values have a bias."""

from dignified_jax.models.families.family import Family
from dignified_jax.models.layers import Traits

FAMILY = Family(
    architecture="Qwen2ForCausalLM",
    model_type="qwen2",
    traits=Traits(qkv_bias=True),
    windows=True,
)
