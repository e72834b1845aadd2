"""Named groups of dimensions, such as Peer and Dignity."""

from collections.abc import Mapping, Sequence

from dignified_jax.data.schema import DIMENSIONS, check_dimensions

JOIN = "+"
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
    if text not in dimensions and JOIN not in text and set(text) <= set(dimensions):
        text = JOIN.join(text)
    return _members(text, dimensions, text, groups)


def _members(
    text: str, dimensions: Sequence[str], found: str, groups: Groups | None = None
) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(JOIN)]
    if not set(names) <= set(dimensions) or len(set(names)) < len(names):
        known = ", ".join((*(groups or ()), *dimensions))
        raise ValueError(
            f"groups: expected distinct names out of {known}, joined by '+', found {found!r}"
        )
    return tuple(dimension for dimension in dimensions if dimension in names)
