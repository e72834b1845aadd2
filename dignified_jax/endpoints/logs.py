"""Logs of inspect_ai as the ledger of calls: what was answered, and what was begun.

Every batch of calls has a directory of its own, which says first which calls it holds: inspect_ai
takes a finished log for the answer to any task of the same name with as many samples, whatever is
in them. A batch that was killed is finished first, from its own log.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dignified_jax.files import atomic
from dignified_jax.files.json_digest import digest

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

FILE = "calls.json"


class EndpointError(ValueError):
    """Calls can't begin, or none of them was answered; or logs of them can't be read."""


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
    """A model's answer.

    Attributes:
      text: all of it.
      time: when it came, ISO 8601.
      log: the log that holds it, below the directory of all.
      input_tokens, output_tokens: as the provider counts them; 0 where it does not.
    """

    text: str
    time: str
    log: str
    input_tokens: int = 0
    output_tokens: int = 0


@dataclasses.dataclass(frozen=True)
class _Finished:
    """A log with status success: its model, its answers by id, its errors."""

    model: str
    answers: Mapping[str, Answer]
    errors: Sequence[str]


class CallLog:
    """The logs below a directory. A finished one never changes and is read once."""

    def __init__(self, directory: pathlib.Path) -> None:
        """
        Args:
          directory: need not exist.
        """
        self.directory = directory
        self._read: dict[pathlib.Path, _Finished] = {}

    def begin(self, calls: Mapping[str, Sequence[str]]) -> CallBatch:
        """Makes the directory of a batch, and the record in it of what it holds."""
        calls = {model: list(names) for model, names in calls.items() if names}
        name, number = digest(calls), 1
        while (directory := self.directory / f"{name}-{number}").exists():
            number += 1  # the same calls again: all of them failed before
        directory.mkdir(parents=True)
        atomic.write_json(directory / FILE, calls)
        return CallBatch(directory, calls)

    def unfinished(self, models: Sequence[str]) -> Iterator[CallBatch]:
        """Batches with calls to these models that no finished log has; of those, the calls."""
        for file in sorted(self.directory.glob(f"*/{FILE}")):
            calls = json.loads(file.read_text(encoding="utf-8"))
            finished = {log.model for log in self._finished(file.parent)}
            left = {m: names for m, names in calls.items() if m in models and m not in finished}
            if left:
                yield CallBatch(file.parent, left)

    def answers(self, model: str) -> dict[str, Answer]:
        """Reads what the finished logs of a model hold.

        Only logs with status success count: others were cut short, and are gone on with.

        Returns:
          Id of the sample -> answer, of those that did not fail.
        """
        return {name: answer for log in self._of(model) for name, answer in log.answers.items()}

    def heard(self) -> set[str]:
        """Returns the models of which a log was finished.

        Raises:
          EndpointError: there are logs, and inspect_ai is not installed.
        """
        headers = map(_read_header, self.directory.glob("*/*.eval"))
        return {log.eval.model for log in headers if log.status == "success"}

    def first_error(self, model: str) -> str:
        """Why a call of the newest batch failed."""
        errors = [error for log in self._of(model) for error in log.errors]
        return errors[-1] if errors else "no log of them was finished"

    def _of(self, model: str) -> Iterator[_Finished]:
        """The finished logs of a model, the oldest batch first."""
        files = self.directory.glob(f"*/{FILE}")
        for file in sorted(files, key=lambda file: file.stat().st_mtime):
            yield from (log for log in self._finished(file.parent) if log.model == model)

    def _finished(self, directory: pathlib.Path) -> Iterator[_Finished]:
        """A batch's logs with status success, the oldest first."""
        for path in sorted(directory.glob("*.eval")):
            if path not in self._read and (log := _read_log(path)) is not None:
                self._read[path] = log
            if path in self._read:
                yield self._read[path]


def require_inspect() -> None:
    """Looks for inspect_ai, by which calls are made and their logs are read.

    Raises:
      EndpointError: it is not installed.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise EndpointError(
            "calls to endpoints need inspect_ai: pip install 'dignified_jax[eval]', or [construct]"
        )


def _read_header(path: pathlib.Path) -> EvalLog:
    """The part of a log before its samples."""
    return _eval_log(path, header_only=True)


def _eval_log(path: pathlib.Path, **how: object) -> EvalLog:
    """Reads a log as inspect_ai does, which fails in many ways on one that is damaged."""
    require_inspect()
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(str(path), **how)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EndpointError(
            f"{path}: not readable as a log of inspect_ai: {reason[:200]}; where it is deleted, "
            "its calls are made again"
        ) from error


def _read_log(path: pathlib.Path) -> _Finished | None:
    """A log; None where it was cut short."""
    if _read_header(path).status != "success":
        return None
    log = _eval_log(path, exclude_fields={"events", "store", "attachments"})
    samples = log.samples or ()
    name = f"{path.parent.name}/{path.name}"
    answers = {str(s.id): _answer(s, name) for s in samples if s.error is None and _spoke(s)}
    errors = [sample.error.message for sample in samples if sample.error]
    return _Finished(log.eval.model, answers, errors)


def _spoke(sample: EvalSample) -> bool:
    return sample.output is not None and bool(sample.output.choices)


def _answer(sample: EvalSample, log: str) -> Answer:
    used = sample.output.usage
    return Answer(
        sample.output.completion,
        str(sample.completed_at or ""),
        log,
        used.input_tokens if used else 0,
        used.output_tokens if used else 0,
    )
