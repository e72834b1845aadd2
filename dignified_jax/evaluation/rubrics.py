"""Rubrics: yes-or-no statements about a response, by dimension, read from a YAML or JSON file."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from dignified_jax.data.schema import Groups, check_dimensions, parse_groups, shorten
from dignified_jax.files.json_digest import digest
from dignified_jax.typed_config import ConfigError, suggestion, yaml_text

PERSONA = str(pathlib.Path(__file__).with_name("persona.yaml"))
"""The file of the default rubric: A1 to C3."""

MOST_ITEMS = 200
LONGEST_TEXT = 2000
_NAME = re.compile(r"\w[\w.-]{0,63}")
_FIELDS = ("name", "dimensions", "groups")
_DIMENSION_FIELDS = ("title", "about", "items")


class RubricError(ConfigError):
    """A rubric file is not what it should be; names file, line and field."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One statement that a judge finds true or not.

    Attributes:
      name: such as "A1".
      text: the statement.
      dimension: that it is about.
    """

    name: str
    text: str
    dimension: str


@dataclasses.dataclass(frozen=True)
class Rubric:
    """Items by dimension.

    Attributes:
      name: of the whole.
      titles: dimension -> its name in words, in the order of the dimensions.
      about: dimension -> what it asks.
      items: all of them, dimension by dimension.
      groups: name -> dimensions whose scores are averaged.
    """

    name: str
    titles: Mapping[str, str]
    about: Mapping[str, str]
    items: tuple[Item, ...]
    groups: Groups

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions, in order."""
        return tuple(self.titles)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of all that a judge reads of it, but for the titles, which judges
        behind endpoints alone are told.
        """
        content = [[i.name, i.text, i.dimension, self.about[i.dimension]] for i in self.items]
        return digest(content)


def read(file: str | pathlib.Path = PERSONA) -> Rubric:
    """Reads a rubric; `persona.yaml` beside this module shows the form.

    Raises:
      RubricError: something is missing, of another kind, unknown, or stands twice.
      OSError: the file can't be read.
    """
    try:
        values, lines = yaml_text.read(file)
    except ConfigError as error:
        raise RubricError(str(error), error.key) from error
    try:
        return _parse(values)
    except ConfigError as error:
        line = lines.get(error.key)
        place = f"{file}:{line}" if line else str(file)
        raise RubricError(f"{place}: {error}", error.key) from error


def _parse(values: Mapping[str, Any]) -> Rubric:
    _refuse_unknown(values, _FIELDS, "")
    sections = values.get("dimensions")
    if not isinstance(sections, Mapping) or not sections:
        raise RubricError("dimensions must be a section of dimensions", "dimensions")
    try:
        names = check_dimensions(tuple(sections))
    except ValueError as error:
        raise RubricError(str(error), "dimensions") from error
    titles, about, items = {}, {}, []
    for name in names:
        key, section = f"dimensions.{name}", sections[name]
        if not isinstance(section, Mapping):
            raise RubricError(f"{key} must be a section, found {shorten(section)}", key)
        _refuse_unknown(section, _DIMENSION_FIELDS, f"{key}.")
        titles[name] = _text(section.get("title", name), f"{key}.title")
        about[name] = _text(section.get("about"), f"{key}.about")
        items += _items(section.get("items"), name, f"{key}.items")
    _check_items(items)
    try:
        entries = values.get("groups") or ()
        if isinstance(entries, str) or not all(isinstance(e, str) for e in entries):
            raise ValueError(f"groups: expected a list of texts, found {shorten(entries)}")
        groups = parse_groups(tuple(entries), names)
    except (TypeError, ValueError) as error:
        raise RubricError(str(error), "groups") from error
    name = _text(values.get("name"), "name")
    return Rubric(name, titles, about, tuple(items), groups)


def _items(section: object, dimension: str, key: str) -> list[Item]:
    if not isinstance(section, Mapping) or not section:
        raise RubricError(f"{key} must be a section NAME: statement, found {shorten(section)}", key)
    found = []
    for name, text in section.items():
        if not _NAME.fullmatch(str(name)):
            raise RubricError(
                f"{key}: expected names of up to 64 letters, digits, '_', '.' or '-', found "
                f"{shorten(name)}",
                f"{key}.{name}",
            )
        found.append(Item(str(name), _text(text, f"{key}.{name}"), dimension))
    return found


def _check_items(items: list[Item]) -> None:
    if len(items) > MOST_ITEMS:
        raise RubricError(f"dimensions: expected at most {MOST_ITEMS} items, found {len(items)}")
    seen: dict[str, str] = {}
    for item in items:
        key = f"dimensions.{item.dimension}.items.{item.name}"
        if item.name in seen:
            raise RubricError(f"{key}: {item.name} is an item of {seen[item.name]} too", key)
        seen[item.name] = item.dimension


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise RubricError(
            f"{key} must be a text of 1 to {LONGEST_TEXT} characters, found {shorten(value)}", key
        )
    return " ".join(value.split())


def _refuse_unknown(values: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
    for name in values:
        if name not in known:
            near = suggestion(name, known)
            raise RubricError(
                f"{prefix}{name} is not a field; there are {', '.join(known)}{near}",
                f"{prefix}{name}",
            )
