"""A small byte-level BPE tokenizer learned from a data set's own texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SMALLEST_VOCABULARY = 256 + 3  # every byte and the special tokens
LARGEST_VOCABULARY = 2**24  # far above any in use, and within what the tokenizers library counts

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, out_dir: str | Path
) -> PreTrainedTokenizerFast:
    """Learn a tokenizer and save it in Hugging Face form.

    The same texts and size give the same files. Any text can be encoded, as every byte has a
    token. "<|endoftext|>" pads, "<|im_end|>" ends a turn and is the eos token.

    Args:
      texts: what to learn from.
      vocab_size: most tokens of the vocabulary; few texts give fewer.
      out_dir: directory to write; `transformers.AutoTokenizer` loads it.

    Returns:
      the saved tokenizer, a `transformers.PreTrainedTokenizerFast`.

    Raises:
      ValueError: `vocab_size` has no room for every byte and the special tokens, or
        is above `LARGEST_VOCABULARY`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST_VOCABULARY:
        raise ValueError(f"vocab_size: expected at least {SMALLEST_VOCABULARY}, found {vocab_size}")
    if vocab_size > LARGEST_VOCABULARY:
        raise ValueError(f"vocab_size: expected at most {LARGEST_VOCABULARY}, found {vocab_size}")
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token=PAD, eos_token=TURN_END, chat_template=CHAT_TEMPLATE
    )
    tokenizer.save_pretrained(out_dir)
    _name_portable_class(Path(out_dir) / "tokenizer_config.json")
    return tokenizer


def _name_portable_class(config: Path) -> None:
    """transformers 5 writes a class name that transformers 4 does not know."""
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
