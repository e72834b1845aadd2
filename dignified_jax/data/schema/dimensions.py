"""The dimensions that rows are about, their names and groups of these."""

import re
from collections.abc import Mapping, Sequence

from dignified_jax.data.schema.problems import shorten

DIMENSIONS = ("A", "T", "E", "C")
"""The default set: anti-sycophancy, trustworthiness, empathy, creativity."""

MOST_DIMENSIONS = 16
LONGEST_NAME = 64
_NAME = re.compile(r"\w[\w-]*")


def check_dimensions(names: Sequence[str]) -> tuple[str, ...]:
    """Returns a set of dimensions in its order, which is the order used everywhere.

    Names become columns ("reject_NAME"), directories and metrics ("loss/NAME").

    Raises:
      ValueError: not 1 to 16 names; a name that is empty, longer than 64 characters, "golden", or
        of other characters than letters, digits, "_" and "-"; or two that differ in case alone,
        which some file systems take for one.
    """
    dimensions = tuple(names) if not isinstance(names, str) else (names,)
    if not 1 <= len(dimensions) <= MOST_DIMENSIONS:
        raise ValueError(
            f"dimensions: expected 1 to {MOST_DIMENSIONS} names, found {len(dimensions)}"
        )
    seen: dict[str, str] = {}
    for name in dimensions:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise ValueError(
                f"dimensions: expected names of 1 to {LONGEST_NAME} letters, digits, '_' or '-' "
                f"(not first), found {shorten(name)}"
            )
        if name.casefold() == "golden":
            raise ValueError(f"dimensions: {name!r} is the name of the good response")
        if name.casefold() in seen:
            raise ValueError(
                f"dimensions: expected distinct names, found {seen[name.casefold()]!r} and "
                f"{name!r} (case does not count: names become directories)"
            )
        seen[name.casefold()] = name
    return dimensions


def response_names(dimensions: Sequence[str]) -> tuple[str, ...]:
    """Returns the response slots of an example: golden, then the reject of each dimension."""
    return ("golden", *dimensions)


RESPONSES = response_names(DIMENSIONS)
"""The response slots of the default set."""


_JOIN = "+"
DEFAULT_GROUPS = ("Peer:E+C", "Dignity:A+T")
"""The groups of the default set of dimensions."""

Groups = Mapping[str, tuple[str, ...]]


def parse_groups(entries: Sequence[str], dimensions: Sequence[str]) -> Groups:
    """Returns name -> dimensions, in the order of `dimensions`.

    Args:
      entries: "NAME:DIMENSION+DIMENSION" each; none stands for `DEFAULT_GROUPS` where the
        dimensions are the default ones.
      dimensions: of the data.

    Raises:
      ValueError: an entry of another form, a name that is no name or another group's or a
        dimension's, or a dimension that is unknown or twice in a group.
    """
    if not entries and tuple(dimensions) == DIMENSIONS:
        entries = DEFAULT_GROUPS
    groups: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, colon, members = entry.partition(":")
        if not colon or not members:
            raise ValueError(f"groups: expected NAME:DIMENSION+DIMENSION, found {entry!r}")
        try:
            check_dimensions([name])
        except ValueError as error:
            raise ValueError(f"groups: {entry!r}: {str(error).partition(': ')[2]}") from error
        taken = {other.casefold() for other in (*groups, *dimensions)}
        if name.casefold() in taken:
            raise ValueError(f"groups: {name!r} is the name of another group or of a dimension")
        groups[name] = _members(members, dimensions, entry)
    return groups


def find_dimensions(text: str, dimensions: Sequence[str], groups: Groups) -> tuple[str, ...]:
    """Returns the dimensions that a text names, in the order of `dimensions`.

    Args:
      text: a group, a dimension, dimensions joined by "+", or dimensions of one letter in a row.
      dimensions: of the data.
      groups: from `parse_groups`.

    Raises:
      ValueError: it names none of these, or a dimension twice.
    """
    if text in groups:
        return groups[text]
    if text not in dimensions and _JOIN not in text and set(text) <= set(dimensions):
        text = _JOIN.join(text)
    return _members(text, dimensions, text, groups)


def _members(
    text: str, dimensions: Sequence[str], found: str, groups: Groups | None = None
) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(_JOIN)]
    if not set(names) <= set(dimensions) or len(set(names)) < len(names):
        known = ", ".join((*(groups or ()), *dimensions))
        raise ValueError(
            f"groups: expected distinct names out of {known}, joined by '+', found {found!r}"
        )
    return tuple(dimension for dimension in dimensions if dimension in names)
