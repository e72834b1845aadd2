"""Loading a tokenizer: whatever goes wrong is one line that names the file; and its digest."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import TYPE_CHECKING

from dignified_jax.console import entry
from dignified_jax.files.model_directory import ModelFileError, locate, read_object

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:  # transformers is imported late
    Tokenizer = object

_CONFIG = "tokenizer_config.json"
_JSON_FILES = (
    *("config.json", "tokenizer.json", _CONFIG, "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json"),
)
# A vocabulary is in one of these.
_VOCABULARIES = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json"),
    *("spiece.model", "sentencepiece.bpe.model", "tiktoken.model"),
)


class TokenizerError(ModelFileError):
    """The tokenizer of a model directory can't be loaded."""


def load_tokenizer(path: str | pathlib.Path, chat_template: str | None = None) -> Tokenizer:
    """Loads the tokenizer of a Hugging Face directory, or of a hub id; runs no code from there.

    Args:
      path: the directory, or the hub id.
      chat_template: file of a Jinja template that takes the place of the tokenizer's own.

    Raises:
      ModelFileError: a file is damaged, a Git LFS pointer or outside the directory, or
        (`TokenizerError`) transformers can't make a tokenizer of them; names the file.
      FileNotFoundError: there is no vocabulary, or no such template.
    """
    directory = pathlib.Path(path)
    if directory.is_dir():
        _check_files(directory)
    tokenizer = _load(directory if directory.is_dir() else str(path))
    if chat_template is not None:
        file = pathlib.Path(chat_template)
        if not file.is_file():
            raise FileNotFoundError(f"data.chat_template: {file} not found")
        try:
            tokenizer.chat_template = file.read_text(encoding="utf-8-sig")  # as editors write it
        except UnicodeDecodeError as error:
            raise TokenizerError(f"data.chat_template: {file}: not UTF-8 text: {error}") from error
    return tokenizer


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Returns 16 hexadecimal digits of a tokenizer's pipeline, or of a slow one's vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        parts = [backend.to_str()]
    else:
        parts = [type(tokenizer).__name__, json.dumps(sorted(tokenizer.get_vocab().items()))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _check_files(directory: pathlib.Path) -> None:
    for name in _JSON_FILES:
        file = locate(directory, name)
        fields = {} if file is None else read_object(file)
        kind = fields.get("tokenizer_class") if name == _CONFIG else None
        if kind is not None and not isinstance(kind, str):
            raise TokenizerError(f"{file}: tokenizer_class: expected text, found {kind!r}")
    if not any([locate(directory, name) for name in _VOCABULARIES]):
        raise FileNotFoundError(
            f"{directory / _VOCABULARIES[0]}: not found, nor another vocabulary of a tokenizer"
        )


def _load(source: pathlib.Path | str) -> Tokenizer:
    with entry.light_imports():
        from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
        tokenizer("a")  # some fields, such as model_max_length, are used only then
    except (KeyboardInterrupt, SystemExit):
        raise
    # Its errors share no base, and those of the Rust library are no `Exception` at all.
    except BaseException as error:
        file = _at_fault(source) if isinstance(source, pathlib.Path) else source
        raise TokenizerError(f"{file}: can't be loaded as a tokenizer: {_line(error)}") from error
    if tokenizer.vocab_size == 0:
        raise TokenizerError(f"{source}: the tokenizer has an empty vocabulary")
    return tokenizer


def _at_fault(directory: pathlib.Path) -> pathlib.Path:
    """The file that does not load by itself, else the one that says how they are read."""
    from tokenizers import Tokenizer

    whole = directory / "tokenizer.json"
    if whole.is_file():
        try:
            Tokenizer.from_file(str(whole))
        except BaseException:  # as above
            return whole
    config = directory / _CONFIG
    return config if config.is_file() else directory


def _line(error: BaseException) -> str:
    """The first line of its message that says something, with its kind where that helps."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    plain = type(error) in (Exception, ValueError, OSError)
    return text if plain else f"{type(error).__name__}: {text}"
