"""Model-size presets shared by the files in ``configs/``."""

from __future__ import annotations

import ml_collections

PRESETS = ("tiny", "qwen3-4b", "llama3-8b")

_HUB_IDS = {
    "qwen3-4b": "Qwen/Qwen3-4B-Instruct-2507",
    "llama3-8b": "meta-llama/Meta-Llama-3-8B-Instruct",
}


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
    config.data.test = "qisein/PersonaKnob:test"
