"""The run directory, here or in a store: what a run writes into it, and who may.

`continuation` says when a new start may go on there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dignified_jax import typed_config
from dignified_jax.files import atomic, jsonl, lock, mirror, store
from dignified_jax.files.lock import BusyError
from dignified_jax.training.config import TrainConfig

__all__ = ["BusyError", "as_dict", "log", "opened", "path", "read_metrics", "trim_metrics"]

CONFIG_FILE = "config.json"
INPUTS_FILE = "inputs.json"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
# Damaged lines of the log, set aside.
DAMAGED_FILE = "metrics.damaged.jsonl"
CHECKPOINTS_DIRECTORY = "checkpoints"
# Entries that stay in a store: written there, or not needed here.
_APART = (CHECKPOINTS_DIRECTORY, "stages", "compilation_cache")
# What only the first process reads.
_UNREAD = ("export", "export_adapter", "plots", "tensorboard", "reference", "rewards")


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Made by `opened`.

    Attributes:
      files: where a run's files are; of a run in a store, their copy here.
      notify: shows a line to a person.
      publish: brings the files into the store; nothing for a run here.
    """

    files: pathlib.Path
    notify: Callable[[str], None]
    publish: Callable[[], None]


@contextlib.contextmanager
def opened(
    config: TrainConfig, notify: Callable[[str], None] = print, leads: bool = True
) -> Iterator[RunDirectory]:
    """Makes the run directory and holds it for this process; it is free again if that dies.

    What a run that was killed left half-written there is removed.

    Args:
      config: the run's.
      notify: shows a line to a person.
      leads: False for the other processes of a job, which hold and write nothing.

    Raises:
      BusyError: another run holds it.
      OSError: it can't be made or written to; names it.
    """
    if store.is_url(config.workdir):
        options = {"leads": leads, "apart": _APART, "unread": _UNREAD}
        with (
            mirror.opened(config.workdir, notify, **options) as copy,
            copy.told(notify) as named,
        ):
            yield RunDirectory(copy.local, named, copy.publish)
        return
    workdir = path(config)
    with contextlib.ExitStack() as stack:
        if leads:
            workdir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.held(workdir, notify))
            atomic.remove_leftovers(workdir)
        yield RunDirectory(workdir, notify, lambda: None)


def path(config: TrainConfig) -> pathlib.Path:
    """The directory of a run that is not in a store."""
    return pathlib.Path(config.workdir)


def checkpoints(workdir: pathlib.Path) -> store.Directory:
    """Returns the directory of a run's checkpoints, which are in the store if the run is."""
    url = mirror.origin(workdir)
    if url is None:
        return workdir / CHECKPOINTS_DIRECTORY
    return store.place(store.join(url, CHECKPOINTS_DIRECTORY))


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
