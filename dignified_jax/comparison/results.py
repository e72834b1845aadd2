"""The scores of single runs, and their means over seeds and differences between methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.comparison.statistics import Interval, Paired, mean_interval, paired_interval

COMPARED = {
    "worst_accuracy": "worst accuracy",
    "worst_loss": "worst loss",
    "mean_accuracy": "mean accuracy",
    "kl": "KL",
}
"""The measures over all dimensions, and their headings."""


@dataclasses.dataclass(frozen=True)
class ScoredRun:
    """The score of one run, as `policy_scores.score` gives it."""

    name: str
    seed: int
    score: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The run's name for a person."""
        return f"{self.name} seed {self.seed}"

    @property
    def worst(self) -> str:
        """The dimension of the least accuracy; of several, that of the greatest loss."""
        rows = self.score["dimensions"]
        return min(rows, key=lambda k: (rows[k]["accuracy"], -rows[k]["loss"]))


@dataclasses.dataclass(frozen=True)
class Results:
    """A whole comparison.

    Attributes:
      records: of all runs.
      against: the method that the others are compared with.
      means: method -> measure -> mean and interval over seeds.
      paired: method other than `against` -> measure -> `against` minus the method, over seeds.
      worst: method -> the worst dimension by seed, in the order of `seeds`.
      seeds: of every method.
      groups: name -> dimensions; its measures are the means of theirs.
      longer, pairs: dimension -> the "longer answer" baseline, and number of test pairs.
    """

    records: tuple[ScoredRun, ...]
    against: str
    means: dict[str, dict[str, Interval]]
    paired: dict[str, dict[str, Paired]]
    worst: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    longer: dict[str, float]
    pairs: dict[str, int]
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def measures(
    score: Mapping[str, Any], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, float]:
    """Returns one run's figures by name.

    worst_accuracy (the least over dimensions), worst_loss (the greatest), mean_accuracy, kl, and
    accuracy/K, loss/K, margin/K of each dimension K, and of each group the means over those of its
    dimensions that have test pairs.
    """
    rows = score["dimensions"]
    single = {k: [row] for k, row in rows.items()}
    single |= {
        name: [rows[k] for k in members if k in rows] for name, members in (groups or {}).items()
    }
    accuracies = [row["accuracy"] for row in rows.values()]
    return {
        "worst_accuracy": min(accuracies),
        "worst_loss": max(row["loss"] for row in rows.values()),
        "mean_accuracy": sum(accuracies) / len(rows),
        "kl": score["kl"],
        **{
            f"{name}/{k}": sum(row[name] for row in some) / len(some)
            for name in ("accuracy", "loss", "margin")
            for k, some in single.items()
            if some
        },
    }


def summarise(
    records: Sequence[ScoredRun],
    against: str,
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> Results:
    """Returns means, intervals and paired differences.

    Args:
      records: of the same seeds for every method, and of the same test rows.
      against: one of the methods.
      groups: name -> dimensions, to be reported beside the dimensions; those without test pairs
        are left out.
    """
    tested = records[0].score["dimensions"]
    groups = {name: ks for name, ks in (groups or {}).items() if set(ks) & set(tested)}
    runs = {record.name: {} for record in records}
    for record in records:
        runs[record.name][record.seed] = record
    seeds = tuple(runs[against])
    values = {
        name: [measures(by_seed[seed].score, groups) for seed in seeds]
        for name, by_seed in runs.items()
    }
    names = list(values[against][0])

    def column(name: str, measure: str) -> list[float]:
        return [value[measure] for value in values[name]]

    return Results(
        records=tuple(records),
        against=against,
        means={name: {m: mean_interval(column(name, m)) for m in names} for name in runs},
        paired={
            name: {m: paired_interval(column(against, m), column(name, m)) for m in names}
            for name in runs
            if name != against
        },
        worst={name: tuple(by_seed[s].worst for s in seeds) for name, by_seed in runs.items()},
        seeds=seeds,
        longer={k: row["longer"] for k, row in tested.items()},
        pairs={k: row["pairs"] for k, row in tested.items()},
        groups=groups,
    )
