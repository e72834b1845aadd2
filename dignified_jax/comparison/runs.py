"""A whole comparison: trains and scores what is not done yet, and reports; what is done stays.

In a run's directory `trained.json` says that it is trained, and by which configuration;
`score.json` what was found of its policy. A run without the former is (re)started, and goes on
from its own checkpoints.

Several processes do all of this together, and the first one writes. What is waiting is found before
the first step, which none takes without the others.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from dignified_jax.comparison import plan, policy_scores, report, results
from dignified_jax.comparison.plan import Run
from dignified_jax.comparison.policy_reuse import share_policies
from dignified_jax.comparison.results import ScoredRun, measures
from dignified_jax.console.waiting import waiting
from dignified_jax.files import atomic
from dignified_jax.files.differences import differences
from dignified_jax.training import stages
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.display.status_text import duration
from dignified_jax.training.export import DIRECTORY as EXPORT_DIRECTORY
from dignified_jax.training.run import continuation
from dignified_jax.training.run import directory as run_directory

TRAINED_FILE = "trained.json"
SCORE_FILE = "score.json"
Notify = Callable[[str], None]


def run(
    comparison: plan.Comparison, notify: Callable[[str], None]
) -> tuple[results.Results, pathlib.Path]:
    """Runs what is not done yet.

    Args:
      comparison: from `plan.parse`.
      notify: shows a line to a person.

    Returns:
      The results, and the directory of their report.

    Raises:
      As `plan.runs`, `train` and `score_runs`.
    """
    planned = share_policies(plan.runs(comparison))
    train(planned, stages.run, notify)

    config = plan.scorer_config(comparison)
    rows = policy_scores.prepare_rows(config, notify)

    @functools.cache
    def scorer() -> policy_scores.PolicyScorer:
        return policy_scores.make_scorer(config, notify, rows)

    def score(weights: pathlib.Path) -> dict[str, Any]:
        show = functools.partial(waiting, visible=jax.process_index() == 0)
        return policy_scores.score(scorer(), weights, show)

    inputs = policy_scores.made_on(rows)
    records = score_runs(planned, comparison.beta, score, notify, inputs)
    groups = config.data.named_groups
    found = results.summarise(records, comparison.against, groups)
    if jax.process_index() == 0:
        report.write(comparison, planned, found)
    return found, report.directory(comparison)


def train(runs: Sequence[Run], run_one: Callable[[TrainConfig], object], notify: Notify) -> None:
    """Trains the runs that are not trained yet.

    Args:
      runs: all of a comparison.
      run_one: trains one, going on where it was stopped; `training.stages.run`.
      notify: shows a line to a person.

    Raises:
      ConfigError: a run was trained by another configuration; before anything is started.
      Whatever `run_one` raises, with a note that names the run.
    """
    waiting = [run for run in runs if not _trained(run)]
    for number, run in enumerate(runs, start=1):
        place = f"[{number}/{len(runs)}] {run.label}"
        if run not in waiting:
            notify(f"{place}: trained before")
            continue
        workdir = run_directory.path(run.config)
        (workdir / SCORE_FILE).unlink(missing_ok=True)
        started = time.perf_counter()
        try:
            run_one(run.config)
        except Exception as error:
            error.add_note(f"in {run.label}, {workdir}")
            raise
        if jax.process_index() == 0:
            atomic.write_json(workdir / TRAINED_FILE, run_directory.as_dict(run.config))
        notify(f"{place}: trained in {duration(time.perf_counter() - started)}")


def score_runs(
    runs: Sequence[Run],
    beta: float,
    score: Callable[[pathlib.Path], dict[str, Any]],
    notify: Notify,
    inputs: Mapping[str, str] | None = None,
) -> list[ScoredRun]:
    """Scores the exports that are not scored yet.

    Args:
      runs: all of a comparison, trained.
      beta: scores at another one are made anew.
      score: of the weights in a directory.
      notify: shows a line to a person.
      inputs: fingerprints; scores at others are made anew. None for any.

    Raises:
      ConfigError: the policies were scored on different inputs; names the two.
    """
    records = []
    for number, run in enumerate(runs, start=1):
        file = run_directory.path(run.config) / SCORE_FILE
        found = _read_score(file)
        changes = _changed(found, inputs or {})
        if changes:
            notify(f"{run.label}: scored anew, as inputs have changed: {'; '.join(changes)}")
        if found.get("beta") != beta or changes:
            found = score(file.parent / EXPORT_DIRECTORY)
            if jax.process_index() == 0:
                atomic.write_json(file, found)
        records.append(ScoredRun(run.name, run.config.seed, found))
        _check_inputs(records[0], records[-1])
        value = measures(found)
        notify(
            f"[{number}/{len(runs)}] {run.label}: worst accuracy {value['worst_accuracy']:.4f} "
            f"({records[-1].worst}), KL {value['kl']:.4g} nats a token"
        )
    return records


def _trained(run: Run) -> bool:
    file = run_directory.path(run.config) / TRAINED_FILE
    if not file.is_file():
        return False
    before = continuation.read_config(file)
    policies = _given(run, before.get("reward_policies", ()))
    now = dataclasses.replace(run.config, reward_policies=_given(run, run.config.reward_policies))
    changes = continuation.config_differences({**before, "reward_policies": list(policies)}, now)
    if changes:
        raise ConfigError(
            f"{file.parent} was trained by another configuration; choose another "
            "--config.workdir, or delete it:\n  " + "\n  ".join(changes)
        )
    return True


def _given(run: Run, policies: Sequence[str]) -> tuple[str, ...]:
    """Reward policies of a run, none where runs of the comparison lend them: those are trained as
    its own would be, so that a comparison may gain or lose the method that lends them."""
    lenders = run_directory.path(run.config).parents[1]
    lent = (p == run.config.model.path or pathlib.Path(p).is_relative_to(lenders) for p in policies)
    return () if all(lent) else tuple(policies)


def _read_score(file: pathlib.Path) -> dict[str, Any]:
    """A run's score; empty where there is none, or a damaged one, which is made anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _changed(found: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """Lines on what is other than a score was made on; none where there is no score."""
    made_on = found.get("inputs")
    if not isinstance(made_on, dict):
        return []
    return differences({name: made_on.get(name) for name in inputs}, dict(inputs))


def _check_inputs(first: ScoredRun, other: ScoredRun) -> None:
    changes = differences(first.score["inputs"], other.score["inputs"])
    if changes:
        raise ConfigError(
            f"{other.label} was scored on other inputs than {first.label}; delete {SCORE_FILE} of "
            "one of them:\n  " + "\n  ".join(changes)
        )
