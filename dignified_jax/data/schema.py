"""Preference rows, the dimensions that they are about and groups of these, and bad rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

DIMENSIONS = ("A", "T", "E", "C")
"""The default set: anti-sycophancy, trustworthiness, empathy, creativity."""

MOST_DIMENSIONS = 16
LONGEST_NAME = 64
_NAME = re.compile(r"\w[\w-]*")

REQUIRED_COLUMNS = ("prompt", "golden", "mask")
"""Columns a record must have; a missing reject column reads as empty."""


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


@dataclass(frozen=True)
class PreferenceRow:
    """One prompt, its golden response and one reject per active dimension.

    Attributes:
      prompt: the user's message.
      golden: the response that is good in every active dimension.
      rejects: dimension -> the response that fails in it; active dimensions only. Empty for a
        supervised example (`read_anchors`), which only fine-tuning on golden can use.
      seed_scene, context, trigger: where the row comes from; never shown to a model.
      dimensions: the set that the data are about, in its order; the same for all rows.
      file, row: the source as the user named it, and the 1-based row (JSONL: line) in it; empty
        and 0 for a row made otherwise. They don't count in comparisons.

    Raises:
      ValueError: a key of `rejects` is not one of `dimensions`.
    """

    prompt: str
    golden: str
    rejects: Mapping[str, str]
    seed_scene: str = ""
    context: str = ""
    trigger: str = ""
    dimensions: tuple[str, ...] = DIMENSIONS
    file: str = field(default="", compare=False, repr=False)
    row: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        unknown = [key for key in self.rejects if key not in self.dimensions]
        if unknown:
            raise ValueError(f"rejects: expected keys out of {self.dimensions}, found {unknown}")

    def place(self, index: int) -> tuple[str, int]:
        """Returns file and row for messages; of a row without a file, its place in a list."""
        return (self.file, self.row) if self.file else (f"rows[{index}]", 0)

    @property
    def mask(self) -> tuple[str, ...]:
        """The active dimensions, in the order of `dimensions`."""
        return tuple(dimension for dimension in self.dimensions if dimension in self.rejects)

    def response(self, name: str) -> str | None:
        """Returns golden or the reject of a dimension, None where that is inactive."""
        return self.golden if name == "golden" else self.rejects.get(name)


def dimensions_of(rows: Iterable[PreferenceRow]) -> tuple[str, ...]:
    """Returns the dimensions that all rows are about; of no rows, the default ones.

    Raises:
      ValueError: the rows are about different sets of dimensions.
    """
    found = list(dict.fromkeys(row.dimensions for row in rows))
    if len(found) > 1:
        raise ValueError(f"rows: expected one set of dimensions, found {found[0]} and {found[1]}")
    return found[0] if found else DIMENSIONS


@dataclass(frozen=True)
class RowProblem:
    """A thing that is wrong with a row.

    Attributes:
      file: the file or data set, as the user named it.
      row: 1-based row (JSONL: line) number; 0 for the file or its header as a whole.
      field: the column, or "row" / "file" for the whole of it.
      expected, found: as they should be and as they are, shortened for one line.
    """

    file: str
    row: int
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.row}" if self.row else self.file
        return f"{where}: {self.field}: expected {self.expected}, found {self.found}"


MOST_LINES = 100
"""Problems that the message of a `BadRowsError` shows, the first ones."""


class BadRowsError(ValueError):
    """Every problem of a data set, one line each; of very many, the first ones and their number.

    Attributes:
      problems: list of `RowProblem`, all of them, in file order.
    """

    def __init__(self, problems: Iterable[RowProblem]) -> None:
        self.problems = list(problems)
        rows = len({(problem.file, problem.row) for problem in self.problems})
        head = f"{_count(len(self.problems), 'problem')} in {_count(rows, 'row')}:"
        super().__init__("\n".join([head, *first_lines(self.problems)]))


def first_lines(each: Sequence[object]) -> list[str]:
    """Returns a line for each of the first `MOST_LINES`, and one for how many more there are."""
    lines = [str(one) for one in each[:MOST_LINES]]
    more = len(each) - MOST_LINES
    return [*lines, f"... and {more} more"] if more > 0 else lines


def shorten(value: object, limit: int = 60) -> str:
    """`repr(value)` on one line of at most about `limit` characters."""
    if isinstance(value, str | bytes | list | tuple) and len(value) > limit:
        value = value[: limit + 1]  # the rest would be cut off in any case
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
