"""Training one run through the package, and choosing a learning rate on the validation rows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

from benchmarks.real.entries import RunId, Setting, train_config
from dignified_jax.files import atomic
from dignified_jax.training import export, stages
from dignified_jax.training.run import directory as run_directory

SECONDS_FILE = "seconds.json"
LAST_SHARE = 0.25  # of the steps


def train(setting: Setting, run: RunId, notify: Callable[[str], None]) -> None:
    """Trains a run, going on where it was stopped; the time of all its parts is added up.

    Raises:
      Interrupted: a signal ended it after a step, of which there is a checkpoint.
    """
    directory = run.directory(setting.out)
    started = time.perf_counter()
    notify(f"training {run.label}")
    try:
        stages.run(train_config(setting, run))
    finally:
        if directory.is_dir():
            spent = seconds(setting, run) + time.perf_counter() - started
            atomic.write_json(directory / SECONDS_FILE, spent)
    # The merged weights are as large as the model; the checkpoint and the adapter hold the policy.
    shutil.rmtree(directory / export.DIRECTORY, ignore_errors=True)


def is_trained(setting: Setting, run: RunId) -> bool:
    """Says that a run came to its end."""
    return (run.directory(setting.out) / run_directory.SUMMARY_FILE).is_file()


def seconds(setting: Setting, run: RunId) -> float:
    """Returns how long a run has trained, with loading, compilation and validation."""
    file = run.directory(setting.out) / SECONDS_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else 0.0


def validation(setting: Setting, run: RunId) -> dict[str, Any]:
    """Returns the figures of a finished run on the validation rows, by dimension."""
    file = run.directory(setting.out) / run_directory.SUMMARY_FILE
    return json.loads(file.read_text(encoding="utf-8"))["dimensions"]


def quality(dimensions: dict[str, Any]) -> tuple[float, float]:
    """Returns the worst accuracy, and minus the worst loss, which decides between equals."""
    rows = dimensions.values()
    return min(row["accuracy"] for row in rows), -max(row["loss"] for row in rows)


def chosen(setting: Setting, trials: list[RunId]) -> RunId | None:
    """Returns the trial that is best on the validation rows; None before all have ended."""
    if not all(is_trained(setting, run) for run in trials):
        return None
    return max(trials, key=lambda run: quality(validation(setting, run)))


def last_losses(setting: Setting, run: RunId) -> dict[str, float]:
    """Returns the mean training loss by dimension over the last LAST_SHARE of the steps."""
    records = _metrics(setting, run)
    found: dict[str, list[float]] = {}
    for record in records[int(len(records) * (1 - LAST_SHARE)) :]:
        for name, value in record.items():
            if name.startswith("loss/") and value is not None:  # of a batch without such a pair
                found.setdefault(name.removeprefix("loss/"), []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def multipliers(setting: Setting, run: RunId) -> list[dict[str, float]]:
    """Returns lambda by dimension after each step; none of a method without."""
    prefix = "lambda/"
    return [
        {name.removeprefix(prefix): value for name, value in record.items() if prefix in name}
        for record in _metrics(setting, run)
        if any(name.startswith(prefix) for name in record)
    ]


def _metrics(setting: Setting, run: RunId) -> list[dict[str, Any]]:
    """The records of the steps that a run has made, in order; there may be none."""
    directory = run.directory(setting.out)
    if not (directory / run_directory.METRICS_FILE).is_file():
        return []
    return run_directory.read_metrics(directory)
