"""The questions to reviewers: definitions of dimensions, and statements to tick."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from dignified_jax.data.schema import shorten

DEFAULT_FILE = Path(__file__).with_name("rubric.yaml")
MOST_ITEMS = 20
_ID = re.compile(r"[A-Za-z][\w-]{0,31}")
_PLACE = "{dimension}"


@dataclasses.dataclass(frozen=True)
class Guide:
    """The guide to one dimension: its title, a good response, a failing one, what is good in it."""

    title: str
    definition: str = ""
    failure: str = ""
    rubric: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Questionnaire:
    """Guides and items.

    Attributes:
      guides: dimension -> guide; a dimension without one is shown by its name.
      items: id -> statement.
    """

    guides: Mapping[str, Guide]
    items: Mapping[str, str]

    @classmethod
    def from_object(cls, value: object, place: str) -> Questionnaire:
        """Reads what a file or `as_object` holds.

        Raises:
          ValueError: names `place` and the key that is not as in rubric.yaml.
        """
        top = _mapping(value, place, ("dimensions", "items"))
        guides = {}
        for name, guide in _mapping(top.get("dimensions") or {}, f"{place}: dimensions").items():
            guides[name] = _guide(guide, f"{place}: dimensions.{name}")
        found = top.get("items") or []
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) > MOST_ITEMS:
            raise ValueError(
                f"{place}: items: expected a list of at most {MOST_ITEMS}, found {shorten(found)}"
            )
        items: dict[str, str] = {}
        for number, item in enumerate(found):
            key = f"{place}: items[{number}]"
            fields = _mapping(item, key, ("id", "text"))
            name = _text(fields.get("id"), f"{key}.id")
            if not _ID.fullmatch(name) or name in items:
                raise ValueError(
                    f"{key}.id: expected a letter, then at most 31 letters, digits, '-' or '_', "
                    f"and another id than before, found {name!r}"
                )
            items[name] = _text(fields.get("text"), f"{key}.text")
        return cls(guides, items)

    def as_object(self) -> dict[str, object]:
        """Returns the rubric as `from_object` reads it."""
        return {
            "dimensions": {
                name: {key: text for key, text in dataclasses.asdict(guide).items() if text}
                for name, guide in self.guides.items()
            },
            "items": [{"id": name, "text": text} for name, text in self.items.items()],
        }

    def guide(self, dimension: str) -> Guide:
        """Returns the guide to a dimension."""
        return self.guides.get(dimension, Guide(dimension))

    def statements(self, dimension: str) -> dict[str, str]:
        """Returns id -> statement about a dimension."""
        title = self.guide(dimension).title
        return {name: text.replace(_PLACE, title) for name, text in self.items.items()}


def read(file: str | Path, dimensions: Sequence[str]) -> Questionnaire:
    """Reads a file such as rubric.yaml, of which other dimensions than these are left out.

    A file without items has those of rubric.yaml.

    Raises:
      OSError: it can't be read.
      ValueError: it is no YAML, or a key is not as expected; names both.
    """
    rubric = _load(Path(file))
    if not rubric.items:
        rubric = dataclasses.replace(rubric, items=_load(DEFAULT_FILE).items)
    guides = {name: rubric.guides[name] for name in dimensions if name in rubric.guides}
    return dataclasses.replace(rubric, guides=guides)


def _load(file: Path) -> Questionnaire:
    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from error
    return Questionnaire.from_object(value, str(file))


def _guide(value: object, place: str) -> Guide:
    fields = {"title": None} | dict(_mapping(value, place, tuple(Guide.__annotations__)))
    rubric = fields.pop("rubric", None) or []
    if not isinstance(rubric, Sequence) or isinstance(rubric, str) or len(rubric) > MOST_ITEMS:
        raise ValueError(
            f"{place}.rubric: expected a list of at most {MOST_ITEMS}, found {shorten(rubric)}"
        )
    statements = [_text(each, f"{place}.rubric[{at}]") for at, each in enumerate(rubric)]
    texts = {name: _text(each, f"{place}.{name}") for name, each in fields.items()}
    return Guide(**texts, rubric=tuple(statements))


def _mapping(value: object, place: str, known: Sequence[str] = ()) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{place}: expected a mapping of names, found {shorten(value)}")
    unknown = [key for key in value if known and key not in known]
    if unknown:
        raise ValueError(f"{place}: expected keys out of {', '.join(known)}, found {unknown[0]!r}")
    return value


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place}: expected text, found {shorten(value)}")
    return value
