"""Ctrl-C, SIGTERM, a closed terminal: the first ends the run after its step, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal ended the run, after a checkpoint of its last step.

    Attributes:
      exit_status: 128 + the signal's number, as shells have it.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Interrupts:
    """Which signal has come, if any."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._signal: signal.Signals | None = None

    def pending(self, step: int) -> signal.Signals | None:
        """The signal that asks for an end after `step`, the same on every process.

        In runs of several processes the first SIGTERM to any of them (a preemption notice) is
        agreed on through JAX's coordination service; Ctrl-C has no such way and ends its process.
        """
        if jax.process_count() == 1:
            return self._signal
        reached = multihost_utils.reached_preemption_sync_point(step)
        return signal.SIGTERM if reached else None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        name = signal.Signals(number).name
        if self._signal is not None:
            self._notify(f"{name} again: stopped at once; the last whole checkpoint stays")
            os._exit(128 + number)  # an exit that waits for threads would finish a save first
        self._signal = signal.Signals(number)
        self._notify(f"{name}: stopping after this step; once more stops at once")


@contextlib.contextmanager
def watched(notify: Callable[[str], None]) -> Iterator[Interrupts]:
    """Handles the signals inside; the former handlers come back after.

    Outside the main thread, where Python has no signals, nothing is handled; nor is SIGHUP where
    it is ignored, as under nohup.
    """
    interrupts = Interrupts(notify)
    handlers = dict.fromkeys(_SIGNALS, interrupts._handle)
    if jax.process_count() > 1:  # JAX has its own for SIGTERM
        handlers = {signal.SIGHUP: lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        handlers.pop(signal.SIGHUP)
    former = {}
    with contextlib.suppress(ValueError):  # not the main thread
        former = {name: signal.signal(name, handler) for name, handler in handlers.items()}
    try:
        yield interrupts
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
