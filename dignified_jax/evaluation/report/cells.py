"""Cells of tables as they are shown: a number with its standard error in one."""

from __future__ import annotations

import math

from dignified_jax.console.labels import printable
from dignified_jax.console.table import Table, number

_ERROR = " se"


def shown(table: Table) -> tuple[list[str], list[list[str]], list[bool]]:
    """Returns headings, rows of texts, and which columns are numbers.

    A column "X se" goes into the cells of X, as "0.34 ± 0.11".
    """
    headings, cells, numeric = [], [], []
    for name, values in table.columns.items():
        if name.endswith(_ERROR) and name.removesuffix(_ERROR) in table.columns:
            continue
        texts = [cell(name, value) for value in values]
        errors = table.columns.get(name + _ERROR)
        if errors is not None:
            texts = [
                f"{text} \u00b1 {cell(name, error)}" if _finite(error) else text
                for text, error in zip(texts, errors, strict=True)
            ]
        headings.append(printable(name))
        cells.append(texts)
        numeric.append(bool(values) and all(isinstance(v, int | float) for v in values))
    return headings, [list(row) for row in zip(*cells, strict=True)], numeric


def cell(column: str, value: object) -> str:
    """A value as text: floats rounded, what is unknown a dash."""
    if isinstance(value, float):
        if math.isinf(value):
            return "\u221e" if value > 0 else "\u2212\u221e"
        return number(column, value).replace("-", "\u2212") if value == value else "\u2013"
    return printable(str(value))


def _finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)
