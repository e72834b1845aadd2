"""A table of plain columns: aligned text, CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from typing import Any

import numpy as np

SMALLEST_P = 1e-4


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
      name: short, fit for a file name.
      title: what it shows, in a line.
      columns: name -> values: labels, text, integers, floats.
    """

    name: str
    title: str
    columns: dict[str, list[Any]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def sorted_by(self, column: str, *, descending: bool = False) -> Table:
        """The same rows in the order of a column of numbers; NaN last."""
        keys = np.asarray(self.columns[column], float)
        order = np.argsort(-keys if descending else keys, kind="stable")
        columns = {name: [values[i] for i in order] for name, values in self.columns.items()}
        return dataclasses.replace(self, columns=columns)

    def text(self, most_rows: int | None = None) -> str:
        """Aligned lines under the title; of a longer table its first and last rows."""
        chosen: list[int | None] = list(range(self.rows))
        if most_rows is not None and self.rows > most_rows:
            half = most_rows // 2
            chosen = [*chosen[: most_rows - half], None, *chosen[self.rows - half :]]
        lines = [""] * (len(chosen) + 1)
        for name, values in self.columns.items():
            numeric = all(isinstance(v, (int, float)) for v in values)
            cells = [name] + ["..." if row is None else _shown(name, values[row]) for row in chosen]
            width = max(map(len, cells))
            for index, cell in enumerate(cells):
                lines[index] += (cell.rjust(width) if numeric else cell.ljust(width)) + "  "
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def csv(self) -> str:
        """Comma-separated, with a header; full precision, nothing for NaN, inf and -inf as such."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        for row in zip(*self.columns.values(), strict=True):
            writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])
        return file.getvalue()

    def json(self) -> dict[str, Any]:
        """Name, title and columns; null for NaN and for infinite numbers, which JSON lacks."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": {
                name: [
                    None if isinstance(value, float) and not math.isfinite(value) else value
                    for value in map(_plain, values)
                ]
                for name, values in self.columns.items()
            },
        }


def _shown(column: str, value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        if column in ("p", "q") and value < SMALLEST_P:
            return f"<{SMALLEST_P:.4f}"
        digits = 4 if column in ("p", "q") else 2
        return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.00
    return str(value)


def _plain(value: Any) -> Any:
    """Labels may be of types that JSON lacks, such as dates."""
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
