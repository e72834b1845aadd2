"""A line that says what is being waited for."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from dignified_jax.console.safe_stream import SafeStream

QUIET_SECONDS = 2.0
# Where the line can't be overwritten, as in a log.
LOG_SECONDS = 30.0


@contextlib.contextmanager
def waiting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows `what` and the seconds it has taken on stderr, once it has taken more than two.

    Yields a function to be told how many parts are done and how many there are.
    """
    stream = SafeStream(sys.stderr)
    terminal = stream.isatty()
    started, finished, parts = time.monotonic(), threading.Event(), ""

    def count(done: int, total: int) -> None:
        nonlocal parts
        parts = f" {done} of {total}"

    def show() -> None:
        pause = QUIET_SECONDS
        while not finished.wait(pause):
            pause = 0.5 if terminal else LOG_SECONDS
            line = f"{what}{parts}: {time.monotonic() - started:.0f} s"
            print(f"\r{line}" if terminal else line, end="" if terminal else "\n", file=stream)
            stream.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        finished.set()
        thread.join()
        if terminal and time.monotonic() - started > QUIET_SECONDS:
            print("\r\033[K", end="", file=stream, flush=True)
