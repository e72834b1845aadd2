"""Contrast pairs: prompts that share a topic and differ in the persona that answers them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dignified_jax.data.schema import Message, Prompt, check_dimensions, shorten
from dignified_jax.data.schema.conversation import SYSTEM, USER
from dignified_jax.files.json_digest import digest
from dignified_jax.typed_config import ConfigError, suggestion, yaml_text

PERSONA = pathlib.Path(__file__).with_name("contrasts.yaml")
"""The file of the shipped pairs, 40 for each of A, T, E and C."""

POLES = ("positive", "negative", "neutral")
Placement = Literal["system", "user"]

_FIELDS = ("name", "neutral", "dimensions")
_DIMENSION_FIELDS = ("title", "framings", "questions")
# Of a trait file of the Persona Vectors repository; what is not read is for its own judge.
_TRAIT_FIELDS = ("instruction", "questions", "eval_prompt", "generation")


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A pair on one topic, and its baseline.

    Attributes:
      topic, framing: numbers of the question and of the framing, by which pairs are known that
        share one.
      question: the user's text.
      positive, negative: framings, that of the persona and that of its opposite.
      neutral: framing of the baseline; "" for none.
    """

    topic: int
    framing: int
    question: str
    positive: str
    negative: str
    neutral: str

    def prompt(self, pole: str, placement: Placement = "system") -> Prompt:
        """Returns the prompt of one of `POLES`.

        Args:
          pole: which.
          placement: "system" puts the framing into a system turn; "user" before the question, for
            chat templates without one.
        """
        framing = getattr(self, pole)
        if not framing:
            return self.question
        if placement == "user":
            return f"{framing}\n\n{self.question}"
        return (Message(SYSTEM, framing), Message(USER, self.question))


@dataclasses.dataclass(frozen=True)
class ContrastSet:
    """The pairs of one dimension.

    Attributes:
      name: of the dimension.
      title: the same in words.
      pairs: in the order of the file.
    """

    name: str
    title: str
    pairs: tuple[Contrast, ...]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of all texts."""
        return digest([dataclasses.astuple(pair) for pair in self.pairs])

    @property
    def groups(self) -> tuple[int, ...]:
        """The pairs that are left out together, by number: those of a framing, so that a vector
        is tried on wordings that it was not made from; those of a topic where there are fewer than
        three framings."""
        if len({pair.framing for pair in self.pairs}) < 3:
            return tuple(pair.topic for pair in self.pairs)
        return tuple(pair.framing for pair in self.pairs)


def read(file: str | pathlib.Path = PERSONA) -> tuple[ContrastSet, ...]:
    """Reads pairs, of all dimensions of a file.

    Args:
      file: YAML or JSON as `contrasts.yaml` beside this module: question n is asked under framing
        n mod their number. Or a trait file of the Persona Vectors repository, JSON with
        `instruction` [{pos, neg}] and `questions`, which is one dimension of the file's name:
        every question under every framing, without a framing in the baseline.

    Raises:
      ConfigError: something is missing, of another kind, or unknown; names file, line and field.
      OSError: the file can't be read.
    """
    values, lines = yaml_text.read(file)
    try:
        if "instruction" in values:
            return (_trait(values, pathlib.Path(file).stem),)
        return _own(values)
    except ConfigError as error:
        line = lines.get(error.key)
        place = f"{file}:{line}" if line else str(file)
        raise ConfigError(f"{place}: {error}", error.key) from error


def _own(values: Mapping[str, Any]) -> tuple[ContrastSet, ...]:
    _refuse_unknown(values, _FIELDS, "")
    sections = values.get("dimensions")
    if not isinstance(sections, Mapping) or not sections:
        raise ConfigError("dimensions must be a section of dimensions", "dimensions")
    try:
        names = check_dimensions(tuple(sections))
    except ValueError as error:
        raise ConfigError(str(error), "dimensions") from error
    neutral = values.get("neutral", "")
    if not isinstance(neutral, str):
        raise ConfigError(f"neutral must be a text, found {shorten(neutral)}", "neutral")
    found = []
    for name in names:
        key, section = f"dimensions.{name}", sections[name]
        if not isinstance(section, Mapping):
            raise ConfigError(f"{key} must be a section, found {shorten(section)}", key)
        _refuse_unknown(section, _DIMENSION_FIELDS, f"{key}.")
        framings = _framings(section.get("framings"), f"{key}.framings")
        questions = _questions(section.get("questions"), f"{key}.questions")
        pairs = [
            _contrast(topic, question, topic % len(framings), framings, neutral.strip())
            for topic, question in enumerate(questions)
        ]
        title = section.get("title", name)
        if not isinstance(title, str):
            raise ConfigError(f"{key}.title must be a text, found {shorten(title)}", f"{key}.title")
        found.append(ContrastSet(name, title, tuple(pairs)))
    return tuple(found)


def _trait(values: Mapping[str, Any], name: str) -> ContrastSet:
    _refuse_unknown(values, _TRAIT_FIELDS, "")
    framings = _framings(values.get("instruction"), "instruction")
    questions = _questions(values.get("questions"), "questions")
    pairs = [
        _contrast(topic, question, framing, framings, "")
        for topic, question in enumerate(questions)
        for framing in range(len(framings))
    ]
    return ContrastSet(name, name.replace("_", " "), tuple(pairs))


def _contrast(
    topic: int, question: str, framing: int, framings: Sequence[tuple[str, str]], neutral: str
) -> Contrast:
    return Contrast(topic, framing, question, *framings[framing], neutral)


def _framings(value: object, key: str) -> list[tuple[str, str]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ConfigError(f"{key} must be a list of {{pos, neg}}, found {shorten(value)}", key)
    found = []
    for number, framing in enumerate(value):
        if not isinstance(framing, Mapping) or set(framing) != {"pos", "neg"}:
            raise ConfigError(
                f"{key}[{number}] must have pos and neg, found {shorten(framing)}", key
            )
        poles = (_text(framing[pole], f"{key}[{number}].{pole}", key) for pole in ("pos", "neg"))
        found.append(tuple(poles))
    return found


def _questions(value: object, key: str) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{key} must be a list of texts, found {shorten(value)}", key)
    found = [_text(text, f"{key}[{number}]", key) for number, text in enumerate(value)]
    if len(set(found)) < len(found):
        twice = next(text for text in found if found.count(text) > 1)
        raise ConfigError(f"{key}: {shorten(twice)} stands twice", key)
    if len(found) < 2:
        raise ConfigError(f"{key}: expected at least two, found {len(found)}", key)
    return found


def _text(value: object, place: str, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{place} must be a text that is not empty, found {shorten(value)}", key)
    return value.strip()


def _refuse_unknown(values: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
    for name in values:
        if name not in known:
            near = suggestion(name, known)
            raise ConfigError(
                f"{prefix}{name} is not a field; there are {', '.join(known)}{near}",
                f"{prefix}{name}",
            )
