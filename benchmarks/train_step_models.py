"""Random checkpoints of the benchmark's sizes, written by transformers, and their tokenizer."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks.train_step_examples import END, FIRST_WORD, PAD, UNKNOWN

_COMMON = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD}
# Geometries of a transformers config; the last: Qwen3-0.6B, Qwen3-4B, Llama-3-8B.
MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_theta": 10000.0,
    },
    "90m": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 640,
        "intermediate_size": 1792,
        "num_hidden_layers": 10,
        "num_attention_heads": 10,
        "num_key_value_heads": 5,
        "rope_theta": 10000.0,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
    },
    "qwen3-4b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
    },
    "llama3-8b": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500000.0,
    },
}


def write_checkpoint(name: str, directory: str | pathlib.Path, dtype: str) -> None:
    """Random weights of one of `MODELS` with a tokenizer, seeded, stored in `dtype`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(MODELS[name])
    rope = {"rope_type": "default", "rope_theta": fields.pop("rope_theta")}
    config = AutoConfig.for_model(
        **fields, **_COMMON, max_position_embeddings=32768, rope_parameters=rope
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(directory)
    make_tokenizer(fields["vocab_size"]).save_pretrained(directory)


def make_tokenizer(vocabulary: int) -> Any:
    """A transformers tokenizer for which every id is one word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {_word(number): number for number in range(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=_word(UNKNOWN)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_word(PAD),
        eos_token=_word(END),
        unk_token=_word(UNKNOWN),
    )


def text(ids: Sequence[int]) -> str:
    """The words of `ids`; texts of a prompt and a response may be joined as they are."""
    return "".join(f" {_word(int(number))}" for number in ids)


def _word(number: int) -> str:
    special = {PAD: "<pad>", END: "</s>", UNKNOWN: "<unk>"}
    return f"w{number}" if number >= FIRST_WORD else special[number]
