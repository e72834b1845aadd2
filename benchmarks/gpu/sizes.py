"""What is computed at each size: `full` for a GPU of 80 GB or more, `tiny` to try it on a CPU."""

from __future__ import annotations

import dataclasses

from benchmarks.memory import MODELS
from dignified_jax.models.config import DecoderConfig

_TINY = DecoderConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=512,
    hidden_size=64,
    intermediate_size=192,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    rope_theta=1e4,
    tie_word_embeddings=True,
)
GEOMETRIES = {
    "tiny": _TINY,
    # Of Qwen/Qwen3-0.6B.
    "qwen3-0.6b": DecoderConfig(
        architecture="Qwen3ForCausalLM",
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=1e6,
        tie_word_embeddings=True,
    ),
    "qwen3-4b": MODELS["qwen3-4b"],
}


@dataclasses.dataclass(frozen=True)
class Training:
    """A train step that is timed.

    Attributes:
      model: of `GEOMETRIES`.
      lora_rank: None trains the whole model, with Adam's first moment in bfloat16.
      rows, row_length: packed rows of a step, and their tokens.
      rows_at_once: of them, on the device.
    """

    model: str
    lora_rank: int | None
    rows: int
    row_length: int
    rows_at_once: int = 1


@dataclasses.dataclass(frozen=True)
class Size:
    """What the parts compute.

    Attributes:
      attention: (rows, row length, heads, key/value heads, head width) of the checks.
      trainings: train steps.
      steps: timed steps of each; their median counts.
      sampler: model, sequences at a time, prompt tokens, new tokens.
      ratings: numbers of ratings that `mfrm.fit` fits.
    """

    attention: tuple[int, int, int, int, int]
    trainings: tuple[Training, ...]
    steps: int
    sampler: tuple[str, int, int, int]
    ratings: tuple[float, ...]


SIZES = {
    "tiny": Size(
        attention=(2, 256, 4, 2, 16),
        trainings=(Training("tiny", None, 2, 1024), Training("tiny", 4, 2, 1024)),
        steps=2,
        sampler=("tiny", 4, 32, 8),
        ratings=(1e4,),
    ),
    "full": Size(
        attention=(4, 4096, 16, 8, 128),
        trainings=(
            Training("qwen3-0.6b", None, 8, 8192, rows_at_once=2),
            Training("qwen3-4b", 16, 8, 8192, rows_at_once=2),
            Training("qwen3-4b", None, 4, 4096),
            Training("qwen3-4b", None, 8, 8192),
        ),
        steps=5,
        sampler=("qwen3-0.6b", 64, 512, 128),
        ratings=(1e6, 1e8, 1e9),
    ),
}
