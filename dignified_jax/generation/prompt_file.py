"""Prompts as JSON lines {"id", "prompt"}."""

from __future__ import annotations

import json
import pathlib

from dignified_jax.data.schema import Prompt, first_lines, shorten
from dignified_jax.data.schema.cells import read_prompt
from dignified_jax.generation.prompts import PromptsError

# Fields of a line; others are refused where they would be expected to act.
_ACTING = (
    "seed",
    "temperature",
    "max_new_tokens",
    "max_tokens",
    "top_p",
    "top_k",
    "stop",
    "system",
)


def read_prompts(file: str | pathlib.Path) -> dict[str, Prompt]:
    """Reads id -> prompt, in the order of the file. Ids may be numbers; they are taken as texts.

    Raises:
      PromptsError: names every line that is not such an object, every id that stands twice, and
        fields that would change how a prompt is answered (they are settings of all).
      OSError: the file can't be read.
    """
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptsError(f"{file}: expected UTF-8 text: {error}") from error
    found: dict[str, Prompt] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            name, prompt = _parsed(line)
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        if name in lines:
            problems.append(f"{place}: id {shorten(name)} stands in line {lines[name]} already")
            continue
        lines[name], found[name] = number, prompt
    if problems:
        raise PromptsError("\n".join(first_lines(problems)))
    if not found:
        raise PromptsError(f"{file}: expected at least one line with id and prompt, found none")
    return found


def _parsed(line: str) -> tuple[str, Prompt]:
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object, found {shorten(line)}") from error
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {shorten(record)}")
    name = record.get("id")
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        raise ValueError(f"id: expected a text or a number, found {shorten(name)}")
    for field in _ACTING:
        if field in record:
            raise ValueError(
                f"{field}: is a setting of all prompts, a flag; expected id and prompt"
            )
    problems: list[tuple[str, str, str]] = []
    prompt = read_prompt("prompt", record.get("prompt"), problems)
    if problems:
        field, expected, found = problems[0]
        raise ValueError(f"{field}: expected {expected}, found {found}")
    if not prompt:
        raise ValueError(f"prompt: expected a text or turns, found {shorten(record.get('prompt'))}")
    return str(name), prompt
