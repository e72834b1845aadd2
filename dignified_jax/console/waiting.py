"""A line that says what is being waited for, how far it is and how long the rest may take."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator

from dignified_jax.console.safe_stream import SafeStream

QUIET_SECONDS = 2.0
# Where the line can't be overwritten, as in a log: before the first one, and between others.
LOG_QUIET_SECONDS = 10.0
LOG_SECONDS = 30.0
_BAR = 24  # characters

Count = Callable[[int, int], None]
"""To be told how many parts are done and how many there are."""


@contextlib.contextmanager
def waiting(what: str, visible: bool = True) -> Iterator[Count]:
    """Shows `what` on stderr, once it has taken more than two seconds (ten in a log).

    With the seconds it has taken; where parts are counted, with a bar and the seconds left at the
    pace so far.

    Args:
      what: in words, such as "tokenising train rows".
      visible: False shows nothing; for all processes but one.

    Yields:
      A function to count parts with.
    """
    if not visible:
        yield lambda done, total: None
        return
    stream = SafeStream(sys.stderr)
    terminal = stream.isatty()
    started, finished = time.monotonic(), threading.Event()
    parts: tuple[int, int] | None = None

    def count(done: int, total: int) -> None:
        nonlocal parts
        parts = (done, total)

    def show() -> None:
        pause = QUIET_SECONDS if terminal else LOG_QUIET_SECONDS
        while not finished.wait(pause):
            pause = 0.5 if terminal else LOG_SECONDS
            line = describe(what, parts, time.monotonic() - started, terminal)
            if terminal:
                line = line[: shutil.get_terminal_size().columns - 1]  # two lines would pile up
            start, end = ("\r", "\033[K") if terminal else ("", "\n")
            print(f"{start}{line}{end}", end="", file=stream)
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


def describe(what: str, parts: tuple[int, int] | None, seconds: float, bar: bool) -> str:
    """Returns the line.

    Args:
      what: in words.
      parts: done and all; None where they are not counted.
      seconds: that it has taken.
      bar: whether parts are drawn too.
    """
    if parts is None:
        return f"{what}: {seconds:.0f} s"
    done, total = parts
    share = min(done / max(total, 1), 1.0)
    filled = round(_BAR * share)
    drawn = f" [{'=' * filled}{' ' * (_BAR - filled)}]" if bar else ""
    left = f", {_duration(seconds / share - seconds)} left" if 0 < share < 1 else ""
    return f"{what}{drawn} {done} of {total}: {_duration(seconds)}{left}"


def _duration(seconds: float) -> str:
    """8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
