"""The contents of a report, whatever form it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.evaluation.judging.judgments import Judge, Missing, count_reasons
from dignified_jax.evaluation.scores.results import Scores

RULES_WARNING = (
    "Judged by rules: word lists and counts, no model. They see words, not sense. These scores "
    "show how the report looks; they say nothing of a model that is worth using."
)
KINDS = {
    "model": "local model",
    "endpoint": "endpoint",
    "rules": "rules, no model",
    "given": "as in the table given",
}


@dataclasses.dataclass(frozen=True)
class Contents:
    """All that a report shows.

    Attributes:
      title: of the page.
      warnings: sentences that stand before anything else.
      notes: sentences on what was left out and how fits ended.
      scores: for the figures.
      tables: in this order.
      configuration: field -> value, sections as mappings.
      inputs: name of an input -> its hash.
    """

    title: str
    warnings: Sequence[str]
    notes: Sequence[str]
    scores: Scores
    tables: Sequence[Table]
    configuration: Mapping[str, object]
    inputs: Mapping[str, str]


def judge_warnings(judges: Iterable[Judge], counts: Mapping[str, int]) -> list[str]:
    """Warnings that judges of some kinds call for, and those without a judgment (`judge_table`)."""
    ruled = [judge.name for judge in judges if judge.kind == "rules"]
    silent = [judge.name for judge in judges if not counts.get(judge.name)]
    found = [f"{', '.join(ruled)}: {RULES_WARNING}"] if ruled else []
    if silent:
        found.append(f"{', '.join(silent)}: no usable judgment, so no score has any of it.")
    return found


def judge_table(judges: Sequence[Judge], counts: Mapping[str, int]) -> Table:
    """Judges, of what kind each is, and how many judgments it gave."""
    columns: dict[str, list[object]] = {
        "judge": [judge.name for judge in judges],
        "kind": [KINDS[judge.kind] for judge in judges],
        "judgments": [counts.get(judge.name, 0) for judge in judges],
        "hash": [judge.hash for judge in judges],
    }
    return Table(name="judges", title="judges", columns=columns)


def missing_table(missing: Sequence[Missing]) -> Table:
    """Reasons for which items have no score, by judge; they count as missing, never as 0."""
    columns: dict[str, list[object]] = {"judge": [], "reason": [], "items": []}
    for judge, reasons in count_reasons(missing).items():
        for reason, number in reasons.items():
            for values, value in zip(columns.values(), (judge, reason, number), strict=True):
                values.append(value)
    return Table(
        name="missing", title="items without a score (missing, never counted as 0)", columns=columns
    )
