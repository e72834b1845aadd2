"""The halo of many items in one call: how answers change when each item is asked by itself.

A judge that answers twelve items at once may let one impression colour them all. Its answers then
agree among each other more than they do when each item is asked in a call of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.evaluation.judging.judgments import Verdicts
from dignified_jax.evaluation.rubrics import Rubric


def audit(judge: str, together: Verdicts, alone: Verdicts, rubric: Rubric) -> Table:
    """Compares a judge's answers on the same responses, asked together and one by one.

    Args:
      judge: label.
      together, alone: verdicts with several items in a call, and with one.
      rubric: of both.

    Returns:
      A row an item: answers in both ways (n), share of 1s in each, their difference with the
      standard error of paired answers, and the share that is equal. The notes give the mean
      correlation of two items of a dimension in each way.
    """
    columns: dict[str, list[object]] = {
        name: [] for name in ("item", "n", "together", "alone", "difference", "se", "equal")
    }
    for item in rubric.items:
        pairs = _pairs(together, alone, item.name)
        n = len(pairs)
        change = pairs[:, 0] - pairs[:, 1]
        known = n > 1
        row = (
            item.name,
            n,
            float(pairs[:, 0].mean()) if n else math.nan,
            float(pairs[:, 1].mean()) if n else math.nan,
            float(change.mean()) if n else math.nan,
            float(change.std(ddof=1) / math.sqrt(n)) if known else math.nan,
            float((change == 0).mean()) if n else math.nan,
        )
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    both = [mean_correlation(verdicts, rubric) for verdicts in (together, alone)]
    note = (
        "mean correlation of two items of one dimension: "
        f"{both[0]:.2f} asked together, {both[1]:.2f} asked alone (halo raises the first)"
    )
    title = f"halo of {judge}: items asked in one call against one by one"
    return Table(name="halo", title=title, columns=columns, notes=(note,))


def mean_correlation(verdicts: Verdicts, rubric: Rubric) -> float:
    """Mean over pairs of items of one dimension of the correlation of their scores; NaN if none.

    Items with the same score everywhere have none.
    """
    found = []
    hashes = sorted({key for key, _ in verdicts})
    for dimension in rubric.dimensions:
        names = [item.name for item in rubric.items if item.dimension == dimension]
        found += _correlations(verdicts, hashes, names)
    return float(np.mean(found)) if found else math.nan


def _correlations(verdicts: Verdicts, hashes: Sequence[str], names: Sequence[str]) -> list[float]:
    scores = np.array([[_score(verdicts, key, name) for key in hashes] for name in names])
    found = []
    for one in range(len(names)):
        for other in range(one):
            known = ~np.isnan(scores[one] + scores[other])
            first, second = scores[one][known], scores[other][known]
            if first.size > 1 and first.std() > 0 and second.std() > 0:
                found.append(float(np.corrcoef(first, second)[0, 1]))
    return found


def _pairs(together: Verdicts, alone: Verdicts, item: str) -> np.ndarray:
    """(n, 2) scores of the responses that have both."""
    keys = sorted({key for key, name in alone if name == item})
    rows = [(_score(together, key, item), _score(alone, key, item)) for key in keys]
    values = np.array(rows, float).reshape(-1, 2)
    return values[~np.isnan(values).any(axis=1)]


def _score(verdicts: Verdicts, key: str, item: str) -> float:
    verdict = verdicts.get((key, item))
    return math.nan if verdict is None or verdict.score is None else float(verdict.score)
