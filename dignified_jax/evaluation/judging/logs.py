"""Logs of inspect_ai as the ledger of calls: what was answered, and what was begun.

Every batch of calls has a directory of its own, which says first which calls it holds: inspect_ai
takes a finished log for the answer to any task of the same name with as many samples, whatever is
in them. A batch that was killed is finished first, from its own log.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dignified_jax.evaluation.rubrics import digest
from dignified_jax.files import atomic

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

FILE = "calls.json"


@dataclasses.dataclass(frozen=True)
class CallBatch:
    """Calls that were begun together.

    Attributes:
      directory: of their logs.
      calls: model -> ids of the samples.
    """

    directory: pathlib.Path
    calls: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A judge's answer: its text, when it came (ISO 8601), and the log that holds it."""

    text: str
    time: str
    log: str


def begin(log_dir: pathlib.Path, calls: Mapping[str, Sequence[str]]) -> CallBatch:
    """Makes the directory of a batch, and the record in it of what it holds."""
    calls = {model: list(names) for model, names in calls.items() if names}
    name, number = digest(calls), 1
    while (directory := log_dir / f"{name}-{number}").exists():
        number += 1  # the same calls again: all of them failed before
    directory.mkdir(parents=True)
    atomic.write_json(directory / FILE, calls)
    return CallBatch(directory, calls)


def unfinished(log_dir: pathlib.Path, models: Sequence[str]) -> Iterator[CallBatch]:
    """Batches with calls to these models that no finished log has; of those, the calls."""
    for file in sorted(log_dir.glob(f"*/{FILE}")):
        calls = json.loads(file.read_text(encoding="utf-8"))
        finished = {model for model, _, _ in _finished(file.parent)}
        left = {m: names for m, names in calls.items() if m in models and m not in finished}
        if left:
            yield CallBatch(file.parent, left)


def read_samples(log_dir: pathlib.Path, model: str) -> dict[str, Answer]:
    """Reads what the finished logs of a model hold.

    Only logs with status success count: others were cut short, and are gone on with.

    Returns:
      Id of the sample -> answer, of those that did not fail.
    """
    found = {}
    for name, samples in _samples(log_dir, model):
        for sample in samples:
            if sample.error is None and sample.output is not None and sample.output.choices:
                time = str(sample.completed_at or "")
                found[str(sample.id)] = Answer(sample.output.completion, time, name)
    return found


def first_error(log_dir: pathlib.Path, model: str) -> str:
    """Why a call of the newest batch failed."""
    errors = [s.error.message for _, own in _samples(log_dir, model) for s in own if s.error]
    return errors[-1] if errors else "no log of them was finished"


def _samples(log_dir: pathlib.Path, model: str) -> Iterator[tuple[str, Sequence[EvalSample]]]:
    """(path below `log_dir`, samples) of the finished logs of a model."""
    for file in sorted(log_dir.glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime):
        for of, name, path in _finished(file.parent):
            if of == model:
                from inspect_ai.log import read_eval_log

                log = read_eval_log(path, exclude_fields={"events", "store", "attachments"})
                yield f"{file.parent.name}/{name}", log.samples or ()


def _finished(directory: pathlib.Path) -> Iterator[tuple[str, str, str]]:
    """(model, name, path) of a batch's logs with status success, the oldest first."""
    for path in sorted(directory.glob("*.eval")):
        from inspect_ai.log import read_eval_log

        header = read_eval_log(str(path), header_only=True)
        if header.status == "success":
            yield header.eval.model, path.name, str(path)
