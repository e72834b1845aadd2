"""Hugging Face weights in and out: safetensors, one tensor at a time.

model, params = hf.load(directory)
hf.save(directory, model, params, tokenizer=tokenizer)
"""

from dignified_jax.models.hf.reader import load, resolve
from dignified_jax.models.hf.tokenizer import add_end_of_turn, rewrite_config, save_tokenizer
from dignified_jax.models.hf.weight_files import (
    Stored,
    WeightsError,
    digest,
    stored,
    stored_dtype,
)
from dignified_jax.models.hf.writer import save

__all__ = [
    "Stored",
    "WeightsError",
    "add_end_of_turn",
    "digest",
    "load",
    "resolve",
    "rewrite_config",
    "save",
    "save_tokenizer",
    "stored",
    "stored_dtype",
]
