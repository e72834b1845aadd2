"""Qwen3, dense: queries and keys are normalised per head, before the rotation."""

from dignified_jax.models.families.family import Family
from dignified_jax.models.layers import Traits

FAMILY = Family(
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    traits=Traits(qk_norm=True),
    windows=True,
    write=lambda config: {"attention_bias": False},
)
