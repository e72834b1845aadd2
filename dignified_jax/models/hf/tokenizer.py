"""Writing tokenizers so that transformers 4 reads them too, and the token that ends a reply."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from dignified_jax.files import atomic
from dignified_jax.files.model_directory import read_object

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONFIG = "tokenizer_config.json"
# How transformers 5 came by the tokenizer; no property of it.
_PASSING = ("backend", "is_local", "local_files_only", "trust_remote_code", "auto_map")


def save_tokenizer(directory: str | pathlib.Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the tokenizer so that transformers 4 can read it too."""
    tokenizer.save_pretrained(str(directory))
    rewrite_config(directory)


def rewrite_config(directory: str | pathlib.Path) -> None:
    """Rewrites what transformers 5 writes into tokenizer_config.json for transformers 4 and 5."""
    file = pathlib.Path(directory) / _CONFIG
    if not file.is_file():
        return
    fields = {key: value for key, value in read_object(file).items() if key not in _PASSING}
    if fields.get("tokenizer_class") == "TokenizersBackend":  # a name transformers 4 refuses
        fields["tokenizer_class"] = "PreTrainedTokenizerFast"
    # transformers 4 wants named tokens under this key, and the others under their old one.
    if isinstance(fields.get("extra_special_tokens"), list):
        fields["additional_special_tokens"] = fields.pop("extra_special_tokens")
    # Its default has segment ids, which no decoder takes.
    fields.setdefault("model_input_names", ["input_ids", "attention_mask"])
    atomic.write_json(file, fields)


def add_end_of_turn(
    directory: str | pathlib.Path, tokenizer: PreTrainedTokenizerBase, token_id: int
) -> str | None:
    """Makes a written model stop where its replies were trained to end.

    The token becomes the first of the eos ids in config.json and generation_config.json, unless
    it is among them, and the tokenizer's eos_token.

    Args:
      directory: holds config.json, and perhaps generation_config.json and tokenizer_config.json.
      tokenizer: the model's.
      token_id: the token that ends a reply.

    Returns:
      A line on what was changed, for a person; None where nothing was.
    """
    directory = pathlib.Path(directory)
    token = tokenizer.convert_ids_to_tokens(token_id)
    changed = []
    for name in ("config.json", "generation_config.json"):
        fields = read_object(directory / name) if (directory / name).is_file() else None
        if fields is None or token_id in (before := _ids(fields.get("eos_token_id"))):
            continue
        fields["eos_token_id"] = [token_id, *before] if before else token_id
        atomic.write_json(directory / name, fields)
        changed.append(name)
    for name in (_CONFIG, "special_tokens_map.json"):
        fields = read_object(directory / name) if (directory / name).is_file() else {}
        if "eos_token" in fields and _text(fields["eos_token"]) != token:
            atomic.write_json(directory / name, fields | {"eos_token": token})
            changed.append(name)
    if not changed:
        return None
    return (
        f"replies were trained to end with {token} (id {token_id}), which the model did not stop "
        f"at: it is now an end-of-sequence token of the export"
    )


def _ids(value: object) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(token: object) -> object:
    return token.get("content") if isinstance(token, dict) else token
