"""Metrics to TensorBoard, and to Weights & Biases where a project is named.

A run that resumes goes on in the same curves. TensorBoard is told to forget what an earlier start
logged after the step resumed from; W&B goes on with the run whose id lies in the run directory,
and is not sent again what it has.
"""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from dignified_jax.console import entry
from dignified_jax.files import atomic

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

TENSORBOARD_DIRECTORY = "tensorboard"
WANDB_ID_FILE = "wandb_id"


def open(
    workdir: str | pathlib.Path,
    start_step: int,
    config: Mapping[str, Any],
    wandb_project: str | None = None,
    *,
    visible: bool = True,
) -> Trackers:
    """The trackers of the run in `workdir`.

    Args:
      workdir: run directory.
      start_step: optimiser steps done; the next to be logged is `start_step` + 1.
      config: the run's configuration, which W&B keeps with the run.
      wandb_project: W&B project; None for none.
      visible: False keeps nothing; for all processes but one.
    """
    workdir = pathlib.Path(workdir)
    trackers: list[_Tracker] = []
    if visible and wandb_project is not None:  # first, as it is the one that may refuse
        trackers.append(_WandB(workdir, config, wandb_project))
    if visible:
        trackers.append(_TensorBoard(workdir / TENSORBOARD_DIRECTORY, start_step))
    return Trackers(trackers)


class Trackers:
    """Made by `open`; a context manager that closes itself."""

    def __init__(self, trackers: Sequence[_Tracker]) -> None:
        self._trackers = trackers

    def log(self, step: int, flat: Mapping[str, float]) -> None:
        """Writes flat metrics under `step`, the optimiser steps done."""
        for tracker in self._trackers:
            tracker.log(step, flat)

    def close(self, failed: bool = False) -> None:
        """Writes what is left; `failed` is shown with the run in W&B."""
        for tracker in self._trackers:
            tracker.close(failed)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # what went wrong first is what matters
            self.close(failed=True)


class _Tracker(Protocol):
    def log(self, step: int, flat: Mapping[str, float]) -> None: ...

    def close(self, failed: bool) -> None: ...


class _TensorBoard:
    """Event files, written before `log` returns: what waits in memory is lost in a kill."""

    def __init__(self, directory: pathlib.Path, start_step: int) -> None:
        with entry.light_imports():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

        directory.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names; a number before the library's time stamp
        # keeps the order of starts within one second, or on machines whose clocks differ.
        starts = len(list(directory.iterdir()))
        self._directory = directory
        self._writer = EventsWriter(str(directory / f"{starts:06d}.events"))
        begin = SessionLog(status=SessionLog.START)
        # All that was read before with this step or a later one is dropped by the reader.
        self._write(Event(step=start_step + 1, session_log=begin))

    def log(self, step: int, flat: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in flat.items()
            if name != "step"
        ]
        self._write(Event(step=step, summary=Summary(value=values)))

    def close(self, failed: bool) -> None:
        del failed
        with atomic.named(self._directory):
            self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with atomic.named(self._directory):
            self._writer.write_event(event)
            self._writer.flush()


class _WandB:
    def __init__(self, workdir: pathlib.Path, config: Mapping[str, Any], project: str) -> None:
        import wandb

        # Written before W&B hears of the run, so that no kill can make it two.
        file = workdir / WANDB_ID_FILE
        known = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        if not known:
            known = secrets.token_hex(8)
            file.write_text(known + "\n", encoding="utf-8")
        self._run = wandb.init(
            project=project,
            dir=str(workdir),
            id=known,
            resume="allow",
            config=dict(config),
            allow_val_change=True,
        )

    def log(self, step: int, flat: Mapping[str, float]) -> None:
        # Steps can't be taken back there; those repeated after a resume are equal anyway.
        if step >= self._run.starting_step:
            self._run.log({name: v for name, v in flat.items() if name != "step"}, step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
