"""A table of plain columns: aligned text, CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from dignified_jax.console.labels import printable, shorten, width

SMALLEST_P = 1e-4
# Columns shown with four digits.
PROBABILITIES = ("p", "q", "p_holm")
WIDEST_LABEL = 40
# Spreadsheets take a text that begins so for a formula; the last four are full-width forms.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
      name: short, fit for a file name.
      title: what it shows, in a line.
      columns: name -> values: labels, text, integers, floats.
      summarised: columns of numbers whose mean and standard deviation (of all rows, divided by
        their number) stand under the printed table; infinite and unknown values are left out.
      notes: lines under the printed table.
    """

    name: str
    title: str
    columns: dict[str, list[object]]
    summarised: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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

    def summary(self) -> dict[str, tuple[float, float]]:
        """Column -> (mean, standard deviation) of its finite values, of `summarised` columns."""
        found = {}
        for name in self.summarised:
            values = np.asarray(self.columns[name], float)
            values = values[np.isfinite(values)]
            if values.size:
                found[name] = (float(values.mean()), float(values.std()))
        return found

    def text(self, most_rows: int | None = None) -> str:
        """Aligned lines under the title; of a longer table its first and last rows."""
        chosen: list[int | None] = list(range(self.rows))
        if most_rows is not None and self.rows > most_rows:
            half = most_rows // 2
            chosen = [*chosen[: most_rows - half], None, *chosen[self.rows - half :]]
        summary = self.summary() if self.rows > 1 else {}
        under = ("mean", "sd") if summary else ()
        lines = [""] * (len(chosen) + 1 + len(under))
        for place, (name, values) in enumerate(self.columns.items()):
            numeric = all(isinstance(v, (int, float)) for v in values)
            shown = _column(name, values, chosen)
            cells = [name] + ["..." if row is None else next(shown) for row in chosen]
            for which, label in enumerate(under):
                figure = number(name, summary[name][which]) if name in summary else ""
                cells.append(label if place == 0 else figure)
            widest = max(map(width, cells))
            for index, cell in enumerate(cells):
                space = " " * (widest - width(cell))
                lines[index] += (space + cell if numeric else cell + space) + "  "
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes])

    def csv(self) -> str:
        """Comma-separated, with a header; full precision, nothing for NaN, inf and -inf as such.

        Text that a spreadsheet would take for a formula has an apostrophe before it.
        """
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(_harmless, self.columns))
        for row in zip(*self.columns.values(), strict=True):
            writer.writerow(map(_harmless, row))
        return file.getvalue()

    def json(self) -> dict[str, object]:
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
            "mean_and_sd": {name: list(pair) for name, pair in self.summary().items()},
            "notes": list(self.notes),
        }


def stack(tables: Sequence[Table]) -> list[Table]:
    """Joins tables of one name, row after row, under the title of the first; they have the same
    columns.
    """
    found: dict[str, Table] = {}
    for table in tables:
        before = found.get(table.name)
        if before is not None:
            columns = {
                name: [*values, *table.columns[name]] for name, values in before.columns.items()
            }
            table = dataclasses.replace(before, columns=columns)
        found[table.name] = table
    return list(found.values())


def read_json(file: str | pathlib.Path) -> Table:
    """Reads a table that `Table.json` made and a file holds; null becomes NaN.

    Raises:
      ValueError: it is not that; names the file.
      OSError: the file can't be read.
    """
    try:
        content = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
        columns = {
            str(name): [math.nan if value is None else value for value in values]
            for name, values in content["columns"].items()
        }
        notes = tuple(map(str, content.get("notes", ())))
        found = Table(str(content["name"]), str(content["title"]), columns, notes=notes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{file}: expected a JSON object with name, title and columns: {error}"
        ) from error
    if len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"{file}: expected columns of one length")
    return found


def _column(name: str, values: Sequence[object], chosen: Sequence[int | None]):
    """Iterator of the shown cells; texts are made distinct among those that are shown."""
    picked = [values[row] for row in chosen if row is not None]
    texts = [printable(str(v)) for v in picked if not isinstance(v, float)]
    short = dict(zip(texts, shorten(texts, WIDEST_LABEL), strict=True))
    return (number(name, v) if isinstance(v, float) else short[printable(str(v))] for v in picked)


def number(column: str, value: float) -> str:
    """A float of a column as a table shows it: rounded, a dash where unknown."""
    if math.isnan(value):
        return "-"
    if column in PROBABILITIES and value < SMALLEST_P:
        return f"<{SMALLEST_P:.4f}"
    digits = 4 if column in PROBABILITIES else 2
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.00


def _harmless(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return ""
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA):
        return value
    try:  # the text of a number is no formula
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _plain(value: object) -> object:
    """Labels may be of types that JSON lacks, such as dates; or no text at all."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)
