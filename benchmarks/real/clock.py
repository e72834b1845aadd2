"""The budget: a signal to this very process when the time is over.

The training loop answers to SIGTERM after its step, with a checkpoint; everything else here is
stopped where it is, and begins that piece again the next time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from dignified_jax.training.run.interrupt import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 2.0  # seconds; Python drops what is raised inside a garbage collector's callback


class Stopped(BaseException):
    """A signal came outside the training loop. No `except Exception` on the way takes it."""


@contextlib.contextmanager
def budget(seconds: float) -> Iterator[Callable[[], None]]:
    """Ends the block after so many seconds, and quietly at a signal too.

    Gives a function that ends it if the time is over: a run whose last step the signal met goes on
    to its end. Must be entered in the main thread, where Python handles signals.
    """

    timers: list[threading.Timer] = []

    def send_after(wait: float, number: int) -> None:
        timer = threading.Timer(wait, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()
        timers.append(timer)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        send_after(_AGAIN, number)
        raise Stopped(signal.Signals(number).name)

    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise Stopped("the time is over")

    former = {name: signal.signal(name, stop) for name in _SIGNALS}
    send_after(seconds, signal.SIGTERM)
    try:
        with contextlib.suppress(Interrupted, Stopped):
            yield check
    finally:
        for timer in timers:
            timer.cancel()
        for name, handler in former.items():
            signal.signal(name, handler)
