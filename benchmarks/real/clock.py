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


class Stopped(BaseException):
    """A signal came outside the training loop. No `except Exception` on the way takes it."""


@contextlib.contextmanager
def budget(seconds: float) -> Iterator[Callable[[], None]]:
    """Ends the block after so many seconds, and quietly at a signal too.

    Gives a function that ends it if the time is over: a run whose last step the signal met goes on
    to its end. Must be entered in the main thread, where Python handles signals.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise Stopped(signal.Signals(number).name)

    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise Stopped("the time is over")

    former = {name: signal.signal(name, stop) for name in _SIGNALS}
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        with contextlib.suppress(Interrupted, Stopped):
            yield check
    finally:
        timer.cancel()
        for name, handler in former.items():
            signal.signal(name, handler)
