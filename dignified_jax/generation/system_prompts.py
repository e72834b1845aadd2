"""System prompts by name: those that steer toward a persona, and those of the user's files."""

from __future__ import annotations

import pathlib

import yaml

from dignified_jax.data import Message
from dignified_jax.data.schema import Prompt
from dignified_jax.data.schema.conversation import messages_of

STEERING = pathlib.Path(__file__).with_name("steering.yaml")


def read_system_prompt(chosen: str) -> str:
    """Returns a system prompt.

    Args:
      chosen: NAME of `STEERING`, FILE.yaml:NAME of a file like it, or a text FILE.

    Raises:
      ValueError: no such name; the file is not what it should be, or empty.
      OSError: it can't be read.
    """
    steering = _read_names(STEERING)
    if chosen in steering:
        return steering[chosen]
    file, colon, name = chosen.rpartition(":")
    if colon and file.endswith((".yaml", ".yml")):
        names = _read_names(pathlib.Path(file))
        if name not in names:
            raise ValueError(f"--system: {file} has {', '.join(names)}; found {name!r}")
        return names[name]
    path = pathlib.Path(chosen)
    if not path.is_file():
        raise ValueError(
            f"--system: expected one of {', '.join(steering)}, a text file, or FILE.yaml:NAME; "
            f"found {chosen!r}"
        )
    text = _text(path).strip()
    if not text:
        raise ValueError(f"--system: {path} is empty")
    return text


def with_system(prompt: Prompt, system: str) -> Prompt:
    """Returns a prompt that begins with a system prompt.

    Raises:
      ValueError: it has one already.
    """
    messages = messages_of(prompt)
    if messages[0].role == "system":
        raise ValueError("the prompt has a system turn, and --system gives another")
    return (Message("system", system), *messages)


def _read_names(file: pathlib.Path) -> dict[str, str]:
    try:
        names = yaml.safe_load(_text(file))
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: not readable as YAML: {reason}") from error
    fit = isinstance(names, dict) and all(
        isinstance(name, str) and isinstance(text, str) and text.strip()
        for name, text in names.items()
    )
    if not fit or not names:
        raise ValueError(f"{file}: expected lines NAME: text, and no text empty")
    return {name: text.strip() for name, text in names.items()}


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 text: {error}") from error
