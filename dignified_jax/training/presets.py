"""Model-size presets shared by the files in ``configs/``."""

from __future__ import annotations

import ml_collections

_HUB_IDS = {
    "qwen3-4b": "Qwen/Qwen3-4B-Instruct-2507",
    "llama3-8b": "meta-llama/Meta-Llama-3-8B-Instruct",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "smollm3-3b": "HuggingFaceTB/SmolLM3-3B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "mistral-7b": "mistralai/Mistral-7B-Instruct-v0.3",
    "gemma3-4b": "google/gemma-3-4b-it",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B-Instruct-2507",
}
PRESETS = ("tiny", *_HUB_IDS)


def apply(config: ml_collections.ConfigDict, preset: str, workdir: str) -> None:
    """Sets the fields of `config` that depend on the model's size.

    Raises:
      ValueError: unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; expected one of {', '.join(PRESETS)}")
    config.workdir = f"runs/{workdir}-{preset}"
    config.data.row_length = 4096
    config.data.on_too_long = "truncate"
    if preset == "tiny":
        config.model.path = "embedded:tiny-qwen3"
        config.model.compute_dtype = "float32"
        config.model.remat = "none"
        config.eval_every = 10
        return
    config.model.path = _HUB_IDS[preset]
    config.data.train = "qisein/PersonaKnob:train"
