"""The run directory: what a run writes, and when a new start may go on in it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from dignified_jax.training.config import ConfigError, TrainConfig

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
# Fields that may differ between the first start of a run and its continuation.
_FREE_FIELDS = ("workdir", "checkpoints_to_keep", "distributed")


def prepare(config: TrainConfig) -> pathlib.Path:
    """Makes the run directory, or checks that a run begun in it has the same configuration.

    Raises:
      ConfigError: a run with another configuration lies there; the message shows the difference.
    """
    workdir = pathlib.Path(config.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / CONFIG_FILE
    # A start that failed before its first step left nothing to go on from.
    if file.is_file() and (workdir / METRICS_FILE).is_file():
        changes = _differences(json.loads(file.read_text(encoding="utf-8")), as_dict(config))
        if changes:
            raise ConfigError(
                f"{workdir} holds a run with another configuration; choose another "
                "--config.workdir, or delete it:\n  " + "\n  ".join(changes)
            )
    return workdir


def write_config(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Writes config.json."""
    text = json.dumps(as_dict(config), indent=2) + "\n"
    (workdir / CONFIG_FILE).write_text(text, encoding="utf-8")


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain JSON types, the method's name included."""
    fields = dataclasses.asdict(config)
    fields["method"]["name"] = config.method.name
    return json.loads(json.dumps(fields))  # tuples become lists, as in the file


def trim_metrics(workdir: pathlib.Path, step: int) -> None:
    """Drops logged lines after `step`, and a last line that was cut off, before resuming."""
    file = workdir / METRICS_FILE
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record["step"] <= step:
            kept.append(line + "\n")
    file.write_text("".join(kept), encoding="utf-8")


def log(workdir: pathlib.Path, record: dict[str, Any]) -> None:
    """Appends one line to metrics.jsonl."""
    with (workdir / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _differences(before: Any, current: Any, prefix: str = "") -> list[str]:
    changes = []
    for key in sorted(set(before) | set(current)):
        name = prefix + key
        if name in _FREE_FIELDS:
            continue
        old, new = before.get(key, "(absent)"), current.get(key, "(absent)")
        if isinstance(old, dict) and isinstance(new, dict):
            changes += _differences(old, new, name + ".")
        elif old != new:
            changes.append(f"{name}: {old!r} there, {new!r} now")
    return changes
