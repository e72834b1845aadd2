"""Residual failures in numbers: rates with Wilson intervals, agreement, and an upper bound.

A row fails a criterion of negatives if any of its negatives does, and a type if it fails any of
its three criteria. Rows that an auditor has not answered in full are not counted for that type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.agreement import exact_and_cohen
from dignified_jax.console.table import Table
from dignified_jax.construction.audit.forms import Scores
from dignified_jax.construction.audit.sample import TYPES, Asked, AuditRow
from dignified_jax.construction.templates import KINDS
from dignified_jax.proportions import wilson

TITLES = {
    "scenario": "1: spurious scenario",
    "reference": "2: unfaithful reference",
    "negative": "3: weak negative",
}
AGGREGATE = "any"


def failures(sample: Sequence[AuditRow], kind: str, scores: Scores) -> dict[str, dict[str, bool]]:
    """Returns row -> criterion (and "any") -> whether it fails, of the rows answered in full."""
    found = {}
    for row in sample:
        parts = [part for part, of in row.parts.items() if of == kind]
        asked = {name: [Asked(row.id, part, name) for part in parts] for name in KINDS[kind]}
        if all(each in scores for own in asked.values() for each in own):
            fails = {n: any(not scores[each] for each in own) for n, own in asked.items()}
            found[row.id] = fails | {AGGREGATE: any(fails.values())}
    return found


def rates(sample: Sequence[AuditRow], auditors: Mapping[str, Scores]) -> list[Table]:
    """Returns the table of residual failures, as it is printed, and the same in numbers.

    Args:
      sample: rows.
      auditors: name -> scores.
    """
    shown: dict[str, list[object]] = {name: [] for name in ("type", "auditor", "n")}
    shown |= {f"criterion {number}": [] for number in (1, 2, 3)} | {"aggregate": []}
    plain: dict[str, list[object]] = {
        name: []
        for name in ("type", "auditor", "criterion", "n", "failures", "rate", "low", "high")
    }
    for kind in TYPES:
        for auditor, scores in auditors.items():
            found = failures(sample, kind, scores)
            cells: list[object] = [TITLES[kind], auditor, len(found)]
            for name in (*KINDS[kind], AGGREGATE):
                count = sum(fails[name] for fails in found.values())
                figures = _rate(count, len(found))
                label = "" if name == AGGREGATE else f" ({name})"
                cells.append(_percent(*figures) + label)
                values = (kind, auditor, name, len(found), count, *figures)
                for column, value in zip(plain.values(), values, strict=True):
                    column.append(value)
            for column, value in zip(shown.values(), cells, strict=True):
                column.append(value)
    note = "Share of rows that fail, with its 95% Wilson interval."
    return [
        Table("residual", "residual failures", shown, notes=(note,)),
        Table("residual-rates", "residual failures in numbers", plain),
    ]


def agreement(
    sample: Sequence[AuditRow], first: tuple[str, Scores], second: tuple[str, Scores]
) -> Table:
    """Returns how far two auditors agree, criterion by criterion, on the rows that both answered.

    Args:
      sample: rows.
      first, second: name and scores of each.
    """
    names = ("criterion", "n", "exact", "kappa", f"{first[0]} alone fails", f"{second[0]} alone")
    columns: dict[str, list[object]] = {name: [] for name in names}
    for kind in TYPES:
        each = [failures(sample, kind, scores) for _, scores in (first, second)]
        common = [row for row in each[0] if row in each[1]]
        for name in (*KINDS[kind], AGGREGATE):
            fails = np.array([[found[row][name] for found in each] for row in common], bool)
            fails = fails.reshape(-1, 2)
            given = np.stack([fails, ~fails], axis=-1).astype(float)
            _, exact, kappa = exact_and_cohen(given)
            alone = [int((fails[:, at] & ~fails[:, 1 - at]).sum()) for at in (0, 1)]
            label = f"any of {kind}" if name == AGGREGATE else name
            values = (label, len(common), float(exact[0, 1]), float(kappa[0, 1]), *alone)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    note = "Kappa is undefined where both find no failure."
    return Table("agreement", "agreement of the auditors", columns, notes=(note,))


def bounds(sample: Sequence[AuditRow], auditors: Mapping[str, Scores]) -> Table:
    """Returns upper bounds on the share of rows with any residual failure, by auditor.

    "any" is the share of rows that fail at least one type, of those answered in full, and
    "high" the end of its 95% interval. The sum of the three aggregates is a bound too (Boole's
    inequality), which needs no row to be answered for all types.
    """
    names = ("auditor", "n", AGGREGATE, "low", "high", "sum of types")
    columns: dict[str, list[object]] = {name: [] for name in names}
    for auditor, scores in auditors.items():
        found = {kind: failures(sample, kind, scores) for kind in TYPES}
        full = [row.id for row in sample if all(row.id in own for own in found.values())]
        count = sum(any(own[row][AGGREGATE] for own in found.values()) for row in full)
        each = [
            _rate(sum(fails[AGGREGATE] for fails in own.values()), len(own))[0]
            for own in found.values()
        ]
        values = (auditor, len(full), *_rate(count, len(full)), min(sum(each), 1.0))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return Table("bounds", "rows with any residual failure", columns)


def _rate(count: int, total: int) -> tuple[float, float, float]:
    """(share, low, high), NaN where nothing was counted."""
    if not total:
        return (float("nan"),) * 3
    return (count / total, *wilson(count, total))


def _percent(share: float, low: float, high: float) -> str:
    if share != share:
        return "-"
    return f"{100 * share:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"
