"""Mistral, dense: all layers see a sliding window where the configuration has one (7B v0.1)."""

from dignified_jax.models.families.family import Family

FAMILY = Family(
    architecture="MistralForCausalLM",
    model_type="mistral",
    reads=("sliding_window",),
    read=lambda fields, where: {"sliding_window": fields.get("sliding_window")},
    write=lambda config: {"sliding_window": config.sliding_window},
)
