"""What happens to bad rows: an error that lists all of them, or setting them aside."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dignified_jax.data.rejected import write_rejected
from dignified_jax.data.schema import BadRowsError, PreferenceRow, RowProblem
from dignified_jax.data.sources import RawRecord


@dataclass(frozen=True)
class Judged:
    """A record and what it gives: rows, or problems."""

    record: RawRecord
    rows: Sequence[PreferenceRow]
    problems: Sequence[RowProblem]


@dataclass(frozen=True)
class BadRowPolicy:
    """The policy of a reader, checked.

    Attributes:
      on_bad_row: "error", or "skip" to set bad rows aside in `rejected_path`.
      rejected_path: JSON lines {"file", "row", "problems", "raw"}; with "skip" only.

    Raises:
      ValueError: an unknown policy, or a path that contradicts it.
    """

    on_bad_row: str
    rejected_path: str | Path | None

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("error", "skip"):
            raise ValueError(f"on_bad_row: expected 'error' or 'skip', found {self.on_bad_row!r}")
        if (self.on_bad_row == "skip") != (self.rejected_path is not None):
            raise ValueError(
                "rejected_path: expected a path with on_bad_row='skip' and None with 'error', "
                f"found {self.rejected_path!r} with {self.on_bad_row!r}"
            )

    def apply(self, source: str | Path, judged: Sequence[Judged]) -> list[PreferenceRow]:
        """The good rows, in order.

        Raises:
          BadRowsError: there are no records; or bad ones that are not to be skipped, or that are
            all there is. All of them are listed.

        Warns:
          UserWarning: with "skip", the number of records set aside.
        """
        if not judged:
            raise BadRowsError([RowProblem(str(source), 0, "file", "at least one row", "none")])
        rows = [row for each in judged for row in each.rows]
        rejected = [(each.record, each.problems) for each in judged if each.problems]
        if rejected:
            if self.rejected_path is None or not rows:
                raise BadRowsError(problem for _, problems in rejected for problem in problems)
            write_rejected(self.rejected_path, rejected)
            message = f"{source}: {len(rejected)} of {len(judged)} rows are bad and were skipped"
            warnings.warn(f"{message}; they are in {self.rejected_path}", stacklevel=3)
        return rows
