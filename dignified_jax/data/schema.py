"""What a preference row is, and how bad rows are reported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DIMENSIONS = ("A", "T", "E", "C")
"""Anti-sycophancy, trustworthiness, empathy, creativity: the order used everywhere."""

RESPONSES = ("golden", *DIMENSIONS)
"""The five response slots of an example: golden, then the reject of each dimension."""


REQUIRED_COLUMNS = ("prompt", "golden", "mask")
"""Columns a record must have; a missing reject column reads as empty."""


@dataclass(frozen=True)
class PreferenceRow:
    """One prompt, its golden response and one reject per active dimension.

    Attributes:
      prompt: the user's message.
      golden: the response that is good in every active dimension.
      rejects: dimension -> the response that fails in it; active dimensions only. Empty for a
        supervised example (`read_anchors`), which only fine-tuning on golden can use.
      seed_scene, context, trigger: where the row comes from; never shown to a model.

    Raises:
      ValueError: a key of `rejects` is not one of `DIMENSIONS`.
    """

    prompt: str
    golden: str
    rejects: Mapping[str, str]
    seed_scene: str = ""
    context: str = ""
    trigger: str = ""

    def __post_init__(self) -> None:
        unknown = [key for key in self.rejects if key not in DIMENSIONS]
        if unknown:
            raise ValueError(f"rejects: expected keys out of {DIMENSIONS}, found {unknown}")

    @property
    def mask(self) -> tuple[str, ...]:
        """The active dimensions, in the order of `DIMENSIONS`."""
        return tuple(dimension for dimension in DIMENSIONS if dimension in self.rejects)

    def response(self, name: str) -> str | None:
        """The text of one of `RESPONSES`, or None where the dimension is inactive."""
        return self.golden if name == "golden" else self.rejects.get(name)


@dataclass(frozen=True)
class RowProblem:
    """One thing wrong with one row.

    Attributes:
      file: the file or data set, as the user named it.
      row: 1-based row (JSONL: line) number; 0 for the file or its header as a whole.
      field: the column, or "row" / "file" for the whole of it.
      expected, found: what should be there and what is, shortened for one line.
    """

    file: str
    row: int
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.row}" if self.row else self.file
        return f"{where}: {self.field}: expected {self.expected}, found {self.found}"


class BadRowsError(ValueError):
    """Every problem of a data set, one line each.

    Attributes:
      problems: list of `RowProblem`, in file order.
    """

    def __init__(self, problems: Iterable[RowProblem]) -> None:
        self.problems = list(problems)
        rows = len({(problem.file, problem.row) for problem in self.problems})
        head = f"{_count(len(self.problems), 'problem')} in {_count(rows, 'row')}:"
        super().__init__("\n".join([head, *map(str, self.problems)]))


def shorten(value: object, limit: int = 60) -> str:
    """`repr(value)` on one line of at most about `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...{text[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
