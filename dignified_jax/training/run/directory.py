"""The run directory: what a run writes, and when a new start may go on in it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from dignified_jax.data import DIMENSIONS
from dignified_jax.training.config import ConfigError, TrainConfig
from dignified_jax.training.run import fingerprint

CONFIG_FILE = "config.json"
INPUTS_FILE = "inputs.json"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
LOCK_FILE = ".lock"
# Fields that may differ between the first start of a run and its continuation.
_FREE_FIELDS = {
    *("workdir", "checkpoints_to_keep", "compilation_cache", "distributed"),
    *("reference_cache", "wandb_project"),
}


class BusyError(RuntimeError):
    """Another process is running in the run directory."""


@contextlib.contextmanager
def locked(config: TrainConfig) -> Iterator[None]:
    """Makes the run directory and holds it for this process; the kernel frees it if that dies.

    Raises:
      BusyError: another run holds it.
    """
    workdir = path(config)
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOCK_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BusyError(
                f"{workdir}: another run is writing here ({file.read().strip()}); wait for it, or "
                "choose another --config.workdir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def path(config: TrainConfig) -> pathlib.Path:
    """The run directory."""
    return pathlib.Path(config.workdir)


def check_config(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Checks that a run begun in the directory has the same configuration.

    Raises:
      ConfigError: it has another; the message shows the difference.
    """
    if not begun(workdir):
        return
    before = read_config(workdir / CONFIG_FILE)
    _refuse(workdir, "another configuration", differences(before, as_dict(config)))


def check_inputs(workdir: pathlib.Path, inputs: Mapping[str, str]) -> None:
    """Checks that model, data and tokenizer are those that the run began with, and records them.

    Raises:
      ConfigError: a file behind an unchanged configuration has changed; the message says which.
    """
    file = workdir / INPUTS_FILE
    if begun(workdir) and file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        _refuse(workdir, "other inputs", fingerprint.differences(before, inputs))
    write_json(file, dict(inputs))


def check_environment(workdir: pathlib.Path, environment: Mapping[str, str]) -> list[str]:
    """A note if a run goes on elsewhere than it began: its last bits may then differ."""
    file = workdir / ENVIRONMENT_FILE
    changes = []
    if begun(workdir) and file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        changes = fingerprint.differences(before, environment)
    write_json(file, dict(environment))
    if not changes:
        return []
    return [f"going on elsewhere, so not bit for bit as before: {'; '.join(changes)}"]


def begun(workdir: pathlib.Path) -> bool:
    """Whether a run got as far as its first step; one that failed earlier left nothing to keep."""
    return (workdir / CONFIG_FILE).is_file() and (workdir / METRICS_FILE).is_file()


def write_config(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Writes config.json."""
    write_json(workdir / CONFIG_FILE, as_dict(config))


def read_config(file: pathlib.Path) -> dict[str, Any]:
    """Returns a configuration written by `write_config`, of this or an earlier version.

    Earlier ones had no `data.dimensions`: the default set was the only one.
    """
    fields = json.loads(file.read_text(encoding="utf-8"))
    fields["data"] = {"dimensions": list(DIMENSIONS), **fields.get("data", {})}
    return fields


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain JSON types, the method's name included."""
    fields = dataclasses.asdict(config)
    fields["method"]["name"] = config.method.name
    return json.loads(json.dumps(fields))  # tuples become lists, as in the file


def differences(before: Any, current: Any, prefix: str = "") -> list[str]:
    """A line for every field of two configurations, as `as_dict` gives them, that differs."""
    changes = []
    for key in sorted(set(before) | set(current)):
        name = prefix + key
        if name in _FREE_FIELDS:
            continue
        old, new = before.get(key, "(absent)"), current.get(key, "(absent)")
        if isinstance(old, dict) and isinstance(new, dict):
            changes += differences(old, new, name + ".")
        elif old != new:
            changes.append(f"{name}: {old!r} there, {new!r} now")
    return changes


def write_json(file: pathlib.Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    _replace(file, json.dumps(content, indent=2) + "\n")


def trim_metrics(workdir: pathlib.Path, step: int) -> None:
    """Drops logged lines after `step`, and a last line that was cut off, before resuming."""
    file = workdir / METRICS_FILE
    if file.is_file():
        kept = [record for record in read_metrics(workdir) if record["step"] <= step]
        _replace(file, "".join(json.dumps(record) + "\n" for record in kept))


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl in order; a last line that was cut off is left out.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: a line other than the last is damaged.
    """
    file = workdir / METRICS_FILE
    lines = file.read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                found = f"expected a JSON object, found {line[:60]!r}"
                raise ValueError(f"{file}:{number}: {found}") from error
    return records


def log(workdir: pathlib.Path, record: Mapping[str, Any]) -> None:
    """Appends one line to metrics.jsonl."""
    name = workdir / METRICS_FILE
    with _named(name), name.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _replace(file: pathlib.Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    with _named(file):
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)


@contextlib.contextmanager
def _named(file: pathlib.Path) -> Iterator[None]:
    """A full disk is told without the file's name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _refuse(workdir: pathlib.Path, what: str, changes: list[str]) -> None:
    if changes:
        raise ConfigError(
            f"{workdir} holds a run with {what}; choose another --config.workdir, or delete it:\n  "
            + "\n  ".join(changes)
        )
