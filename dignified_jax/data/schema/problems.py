"""Problems of rows, one line each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
