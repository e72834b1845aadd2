"""Rates and changes with 95% intervals: Wilson's, or of a bootstrap over questions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.proportions import wilson

REPLICATES = 2000
SEED = 0


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number of a model.

    Attributes:
      name: what it is, in words; what stands before ": " is the part of the replies it is of.
      value: NaN where nothing was counted.
      low, high: 95% interval; NaN where it can't be told.
      n: responses, or pairs of them, that it rests on.
      interval: "wilson" or "bootstrap", over questions.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    interval: str


def rate(name: str, values: Sequence[bool], questions: Sequence[str]) -> Figure:
    """Returns the share of what is true.

    With one value a question the interval is Wilson's ("Probable Inference, the Law of
    Succession, and Statistical Inference", 1927); with several it is of a bootstrap.

    Args:
      name: what it is.
      values: to count.
      questions: that each is about.
    """
    if len(set(questions)) < len(questions):
        return mean(name, [float(value) for value in values], questions)
    count, total = sum(values), len(values)
    if not total:
        return Figure(name, math.nan, math.nan, math.nan, 0, "wilson")
    low, high = wilson(count, total)
    return Figure(name, count / total, low, high, total, "wilson")


def mean(name: str, values: Sequence[float], questions: Sequence[str]) -> Figure:
    """Returns the mean, with an interval from samples of whole questions.

    There is no interval where all questions have the same mean.

    Args:
      name: what it is.
      values: of each response or pair.
      questions: that each is about.
    """
    if not len(values):
        return Figure(name, math.nan, math.nan, math.nan, 0, "bootstrap")
    _, at = np.unique(np.asarray(questions, str), return_inverse=True)
    sums = np.bincount(at, weights=values)
    counts = np.bincount(at)
    value = float(np.mean(values))
    if np.ptp(sums / counts) == 0:  # all questions alike: their samples show no spread
        return Figure(name, value, math.nan, math.nan, len(values), "bootstrap")
    rng = np.random.default_rng(SEED)
    drawn = [rng.integers(len(sums), size=len(sums)) for _ in range(REPLICATES)]
    means = [sums[each].sum() / counts[each].sum() for each in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(name, value, float(low), float(high), len(values), "bootstrap")


def tabulate(name: str, title: str, found: Sequence[tuple[str, Sequence[Figure]]]) -> Table:
    """Returns a row for each model and figure.

    Args:
      name, title: of the table.
      found: (label of the model, its figures) each.
    """
    columns: dict[str, list[object]] = {"model": [], "of": [], "figure": []}
    columns |= {key: [] for key in ("value", "low", "high", "n", "interval")}
    for model, figures in found:
        for figure in figures:
            columns["model"].append(model)
            part, _, what = figure.name.rpartition(": ")
            columns["of"].append(part or "all")
            columns["figure"].append(what)
            for key in ("value", "low", "high", "n", "interval"):
                columns[key].append(getattr(figure, key))
    return Table(name, title, columns, notes=("low and high: 95% interval",))
