"""A whole comparison: train, judge, report."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

from dignified_jax.comparison import execution, plan, report, results, scoring
from dignified_jax.comparison.sharing import share_policies
from dignified_jax.training import stages


def run(
    comparison: plan.Comparison, say: Callable[[str], None]
) -> tuple[results.Results, pathlib.Path]:
    """Runs what is not done yet.

    Args:
      comparison: from `plan.parse`.
      say: shows a line to a person.

    Returns:
      The results, and the directory of their report.

    Raises:
      As `plan.runs`, `execution.train` and `execution.judge`.
    """
    runs = share_policies(plan.runs(comparison))
    execution.train(runs, stages.run, say)

    @functools.cache
    def judge() -> scoring.Judge:
        return scoring.judge(plan.judge_config(comparison))

    records = execution.judge(
        runs, comparison.beta, lambda weights: scoring.score(judge(), weights), say
    )
    found = results.summarise(records, comparison.against)
    return found, report.write(comparison, runs, found)
