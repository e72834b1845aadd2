"""Our sampler as a model API of inspect_ai: `inspect eval TASK --model dignified_jax/PATH`.

Any task of inspect_ai then runs on a checkpoint, run or LoRA run without export. The entry point in
setup.py names this module; it is light, and the sampler loads when a model is made.

    -M dtype=bfloat16 -M batch_size=16      # of the weights; sequences sampled together
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_ai.model import modelapi

if TYPE_CHECKING:
    from inspect_ai.model import ModelAPI


@modelapi(name="dignified_jax")
def dignified_jax() -> type[ModelAPI]:
    """The class of models; PATH is as `models.checkpoint.policy.load` takes it."""
    from dignified_jax.evaluation.sampler_api import SamplerAPI

    return SamplerAPI
