"""Guides to dimensions: what each asks for, how a reply fails in it, and what a good one shows."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from dignified_jax.data.schema import check_dimensions, shorten
from dignified_jax.typed_config import ConfigError, suggestion, yaml_text

PERSONA = str(pathlib.Path(__file__).with_name("persona.yaml"))
"""The file of the default dimensions: A, T, E, C."""

LONGEST_TEXT = 2000
MOST_STATEMENTS = 12
_TEXTS = ("title", "definition", "failure")
_FIELDS = (*_TEXTS, "rubric")


class GuideError(ConfigError):
    """A file of dimensions is not what it should be; names file, line and field."""


@dataclasses.dataclass(frozen=True)
class DimensionGuide:
    """The guide to one dimension.

    Attributes:
      name: the dimension, as in "reject_NAME".
      title: its name in words.
      definition: what it asks of a reply.
      failure: what a reply does that fails in it.
      rubric: statements that are true of a good reply.
    """

    name: str
    title: str
    definition: str
    failure: str
    rubric: tuple[str, ...]


Guides = Mapping[str, DimensionGuide]
"""Dimension -> guide, in the order of the dimensions."""


def read(file: str | pathlib.Path = PERSONA) -> Guides:
    """Reads the guides; `persona.yaml` beside this module shows the form.

    Raises:
      GuideError: something is missing, of another kind, unknown, or stands twice.
      OSError: the file can't be read.
    """
    values, lines = yaml_text.read(file)
    try:
        return _guides(values)
    except GuideError as error:
        place = f"{file}:{lines[error.key]}" if error.key in lines else str(file)
        raise GuideError(f"{place}: {error}", error.key) from error


def _guides(values: Mapping[str, object]) -> Guides:
    _refuse_unknown(values, ("dimensions",), "")
    section = values.get("dimensions")
    if not isinstance(section, Mapping) or not section:
        raise GuideError(f"dimensions must be a section NAME: guide, found {shorten(section)}")
    try:
        names = check_dimensions([str(name) for name in section])
    except ValueError as error:
        raise GuideError(str(error), "dimensions") from error
    return {n: _guide(n, v) for n, v in zip(names, section.values(), strict=True)}


def _guide(name: str, fields: object) -> DimensionGuide:
    key = f"dimensions.{name}"
    if not isinstance(fields, Mapping):
        raise GuideError(f"{key} must be a section of {', '.join(_FIELDS)}", key)
    _refuse_unknown(fields, _FIELDS, f"{key}.")
    texts = [_text(fields.get(field), f"{key}.{field}") for field in _TEXTS]
    rubric = fields.get("rubric")
    listed = isinstance(rubric, Sequence) and not isinstance(rubric, str)
    if not listed or not 1 <= len(rubric) <= MOST_STATEMENTS:
        raise GuideError(
            f"{key}.rubric must be a list of 1 to {MOST_STATEMENTS} statements, found "
            f"{shorten(rubric)}",
            f"{key}.rubric",
        )
    statements = [_text(each, f"{key}.rubric[{at}]") for at, each in enumerate(rubric)]
    return DimensionGuide(name, *texts, tuple(statements))


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise GuideError(
            f"{key} must be a text of 1 to {LONGEST_TEXT} characters, found {shorten(value)}", key
        )
    return " ".join(value.split())


def _refuse_unknown(values: Mapping[str, object], known: Sequence[str], prefix: str) -> None:
    for name in values:
        if name not in known:
            raise GuideError(
                f"{prefix}{name} is not a field; there are {', '.join(known)}"
                f"{suggestion(name, known)}",
                f"{prefix}{name}",
            )
