"""The run directory: what a run writes into it, and who may.

`continuation` says when a new start may go on there.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dignified_jax import typed_config
from dignified_jax.files import atomic, jsonl, lock
from dignified_jax.files.lock import BusyError
from dignified_jax.training.config import TrainConfig

__all__ = ["BusyError", "as_dict", "locked", "log", "path", "read_metrics", "trim_metrics"]

CONFIG_FILE = "config.json"
INPUTS_FILE = "inputs.json"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
# Damaged lines of the log, set aside.
DAMAGED_FILE = "metrics.damaged.jsonl"


@contextlib.contextmanager
def locked(config: TrainConfig, notify: Callable[[str], None] = print) -> Iterator[None]:
    """Makes the run directory and holds it for this process; the kernel frees it if that dies.

    What a run that was killed left half-written there is removed.

    Args:
      config: the run's.
      notify: shows a line to a person, where the file system has no locks.

    Raises:
      BusyError: another run holds it.
      OSError: it can't be made or written to; names it.
    """
    workdir = path(config)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir, notify):
        atomic.remove_leftovers(workdir)
        yield


def path(config: TrainConfig) -> pathlib.Path:
    """The run directory."""
    return pathlib.Path(config.workdir)


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Returns the configuration as plain JSON types, with the names of what was chosen."""
    fields = typed_config.as_dict(config)
    return json.loads(json.dumps(fields))  # tuples become lists, as in the file


def trim_metrics(workdir: pathlib.Path, step: int) -> list[str]:
    """Drops logged lines after `step`, and a last line that was cut off, before resuming.

    Damaged lines go to metrics.damaged.jsonl.

    Returns:
      Notes for a person: on lines that were damaged, and on steps up to `step` that are not there.
    """
    file = workdir / METRICS_FILE
    records, damaged = jsonl.read(file, _is_record) if file.is_file() else ([], [])
    notes = []
    if damaged:
        for number, line in damaged:
            jsonl.append(workdir / DAMAGED_FILE, {"line": number, "text": line})
        numbers = ", ".join(str(number) for number, _ in damaged[:5])
        notes.append(
            f"{file}: {len(damaged)} damaged (line {numbers}{', …' if len(damaged) > 5 else ''}), "
            f"set aside in {DAMAGED_FILE}"
        )
    kept = [record for record in records if record["step"] <= step]
    missing = step - len({record["step"] for record in kept})
    if missing:
        notes.append(f"{file}: {missing} of the {step} steps before are not in it, and stay out")
    if file.is_file():
        jsonl.write(file, kept)
    return notes


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the records of metrics.jsonl in order; damaged lines are left out.

    Raises:
      FileNotFoundError: there is no such file.

    Warns:
      UserWarning: lines are damaged, with their numbers.
    """
    file = workdir / METRICS_FILE
    records, damaged = jsonl.read(file, _is_record)
    if damaged:
        numbers = ", ".join(str(number) for number, _ in damaged[:8])
        more = ", ..." if len(damaged) > 8 else ""
        warnings.warn(f"{file}: damaged lines are left out: {numbers}{more}", stacklevel=2)
    return records


def _is_record(record: dict[str, Any]) -> bool:
    return type(record.get("step")) is int


def log(workdir: pathlib.Path, record: Mapping[str, Any]) -> None:
    """Appends one line to metrics.jsonl."""
    jsonl.append(workdir / METRICS_FILE, record)
