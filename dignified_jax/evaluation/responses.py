"""Responses of models to prompts, as JSON lines: what judges read."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dignified_jax.data.schema import Message, Prompt, shorten
from dignified_jax.data.schema.conversation import as_objects, simplified
from dignified_jax.files import atomic
from dignified_jax.files.json_digest import digest


class ResponsesError(ValueError):
    """A file of prompts or responses is not what it should be; names file and line."""


@dataclasses.dataclass(frozen=True)
class Response:
    """An answer of a model.

    Attributes:
      model: label of the model.
      question: id of the prompt, the same for all models.
      prompt: what the model was shown.
      text: its answer.
    """

    model: str
    question: str
    prompt: Prompt
    text: str

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of prompt and answer."""
        return digest([self.prompt, self.text])


def prompt_text(prompt: Prompt) -> str:
    """Returns a prompt as one text; the turns of a conversation each begin with who speaks."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in prompt)


def read_prompts(file: str | pathlib.Path) -> dict[str, Prompt]:
    """Reads lines {"id", "prompt"}: id -> prompt, in order.

    Raises:
      ResponsesError: a line is not that, or an id stands twice.
      OSError: the file can't be read.
    """
    found: dict[str, Prompt] = {}
    for place, record in _records(file):
        name = _id(record, place)
        if name in found:
            raise ResponsesError(f"{place}: id {shorten(name)} stands twice")
        found[name] = _prompt(record, place)
    return found


def read_responses(
    file: str | pathlib.Path, model: str, prompts: Mapping[str, Prompt] | None = None
) -> tuple[Response, ...]:
    """Reads lines {"id", "response"}, with "prompt" where `prompts` does not have the id.

    Args:
      file: JSON lines.
      model: label of the model that answered.
      prompts: id -> prompt.

    Raises:
      ResponsesError: a line is not that, an id stands twice, or its prompt is not known or not
        that of `prompts`.
      OSError: the file can't be read.
    """
    found: dict[str, Response] = {}
    for place, record in _records(file):
        name = _id(record, place)
        if name in found:
            raise ResponsesError(f"{place}: id {shorten(name)} stands twice")
        text = record.get("response")
        if not isinstance(text, str):
            raise ResponsesError(f"{place}: response: expected a text, found {shorten(text)}")
        prompt = (prompts or {}).get(name)
        if prompt is None:
            prompt = _prompt(record, place)
        elif record.get("prompt") is not None and _prompt(record, place) != prompt:
            raise ResponsesError(
                f"{place}: prompt: expected the one that is asked under this id, found "
                f"{shorten(record['prompt'])}: a response to another prompt"
            )
        found[name] = Response(model, name, prompt, _writable(text, f"{place}: response"))
    return tuple(found.values())


def write_responses(file: str | pathlib.Path, responses: Iterable[Response]) -> None:
    """Writes lines {"id", "prompt", "response"}, whole or not at all."""
    lines = [
        json.dumps({"id": r.question, "prompt": as_objects(r.prompt), "response": r.text})
        for r in responses
    ]
    atomic.write_text(file, "".join(line + "\n" for line in lines))


def check_distinct(responses: Sequence[Response]) -> None:
    """Refuses two responses of a model to one prompt, and prompts that differ under one id.

    Raises:
      ResponsesError: names model and id.
    """
    seen: set[tuple[str, str]] = set()
    prompts: dict[str, Prompt] = {}
    for response in responses:
        place = f"model {shorten(response.model)}, id {shorten(response.question)}"
        if (response.model, response.question) in seen:
            raise ResponsesError(f"{place}: expected one response, found two")
        seen.add((response.model, response.question))
        if prompts.setdefault(response.question, response.prompt) != response.prompt:
            raise ResponsesError(f"{place}: another model has another prompt under this id")


def _records(file: str | pathlib.Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(file:line, object) of every line that is not blank."""
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ResponsesError(f"{file}: expected UTF-8 text, found other bytes: {error}") from error
    empty = True
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place, empty = f"{file}:{number}", False
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ResponsesError(
                f"{place}: expected a JSON object, found {shorten(line)}"
            ) from error
        if not isinstance(record, dict):
            raise ResponsesError(f"{place}: expected a JSON object, found {shorten(record)}")
        yield place, record
    if empty:
        raise ResponsesError(f"{file}: expected at least one line, found none")


def _id(record: Mapping[str, Any], place: str) -> str:
    value = record.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or str(value).strip() == "":
        raise ResponsesError(f"{place}: id: expected a text or a number, found {shorten(value)}")
    return _writable(str(value), f"{place}: id")


def _prompt(record: Mapping[str, Any], place: str) -> Prompt:
    value = record.get("prompt")
    if isinstance(value, str) and value.strip():
        return _writable(value, f"{place}: prompt")
    if not isinstance(value, list) or not value:
        raise ResponsesError(
            f"{place}: prompt: expected a text or a list of turns, found {shorten(value)}"
        )
    for turn in value:
        fields = turn if isinstance(turn, dict) else {}
        if not all(isinstance(fields.get(key), str) for key in ("role", "content")):
            raise ResponsesError(
                f"{place}: prompt: expected turns with role and content, found {shorten(turn)}"
            )
        _writable(turn["content"], f"{place}: prompt")
    return simplified([Message(turn["role"], turn["content"]) for turn in value])


def _writable(text: str, place: str) -> str:
    """The text, if UTF-8 has bytes for it: halves of surrogate pairs it has none for."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ResponsesError(f"{place}: has half of a surrogate pair: {shorten(text)}") from error
    return text
