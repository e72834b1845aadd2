"""A line that says what is being waited for, how far it is and how long the rest may take."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from dignified_jax.console.progress_line import duration
from dignified_jax.console.safe_stream import SafeStream

QUIET_SECONDS = 2.0
# Where the line can't be overwritten, as in a log: before the first one, and between others.
LOG_QUIET_SECONDS = 10.0
LOG_SECONDS = 30.0
_BAR, _LEAST_BAR = 24, 6  # characters
_TOGETHER = 64  # items that are counted together
_open: list[threading.Event] = []  # what is being waited for, the innermost last

Item = TypeVar("Item")
ShowCount = Callable[[int, int], None]
"""To be told how many parts are done and how many there are."""
Look = Callable[[], tuple[int, int] | None]
"""Says how many parts are done and how many there are, or None where that is not known."""


def uncounted(done: int, total: int) -> None:
    """Is told, and shows nothing."""


def counting(
    items: Iterable[Item], count: ShowCount, total: int, done: int = 0, together: int = _TOGETHER
) -> Iterator[Item]:
    """Yields items, and counts them when they are done with.

    Args:
      items: to be yielded.
      count: told how many are done.
      total: of all.
      done: before the first.
      together: how many are counted at a time.
    """
    for number, item in enumerate(items, done + 1):
        yield item
        if number % together == 0 or number == total:
            count(number, total)


class Waiting(Protocol):
    """Shows what is waited for, as `waiting` does."""

    def __call__(
        self, what: str, *, share: bool = False, look: Look | None = None
    ) -> contextlib.AbstractContextManager[ShowCount]: ...


def silent(
    what: str, *, share: bool = False, look: Look | None = None
) -> contextlib.AbstractContextManager[ShowCount]:
    """Shows nothing: for functions of a library, unless they are told otherwise."""
    del what, share, look
    return contextlib.nullcontext(uncounted)


@contextlib.contextmanager
def waiting(
    what: str,
    visible: bool = True,
    *,
    share: bool = False,
    look: Look | None = None,
) -> Iterator[ShowCount]:
    """Shows `what` on stderr, once it has taken more than two seconds (ten in a log).

    With the seconds it has taken; where parts are counted, with a bar and the seconds left at the
    pace so far. Inside another, it takes that one's place until it ends.

    Args:
      what: in words, such as "tokenising train rows".
      visible: False shows nothing; for all processes but one.
      share: whether parts are shown in percent, as those that no person counts: bytes.
      look: asked for the parts, where nobody counts them.

    Yields:
      A function to count parts with.
    """
    if not visible:
        yield uncounted
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
            if _open[-1] is not finished:
                continue
            found = parts if look is None else look()
            width = shutil.get_terminal_size().columns - 1 if terminal else None
            line = describe(what, found, time.monotonic() - started, terminal, share, width)
            start, end = ("\r", "\033[K") if terminal else ("", "\n")
            print(f"{start}{line}{end}", end="", file=stream)
            stream.flush()

    _open.append(finished)
    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        finished.set()
        thread.join()
        _open.remove(finished)
        if terminal and time.monotonic() - started > QUIET_SECONDS:
            print("\r\033[K", end="", file=stream, flush=True)


def describe(
    what: str,
    parts: tuple[int, int] | None,
    seconds: float,
    bar: bool,
    share: bool = False,
    width: int | None = None,
) -> str:
    """Returns the line.

    Args:
      what: in words.
      parts: done and all; None where they are not counted.
      seconds: that it has taken.
      bar: whether parts are drawn too.
      share: whether they are shown in percent.
      width: most characters, as two lines in a terminal would pile up. The bar gets shorter and
        goes, then the middle of `what`, as its end may be that of a file's name.
    """
    if parts is None:
        return _fitted(what, f": {duration(seconds)}", width)
    done, total = parts
    part = min(done / max(total, 1), 1.0)
    counted = f"{int(100 * part)}%" if share else f"{done} of {total}"
    left = f", {duration(seconds / part - seconds)} left" if 0 < part < 1 else ""
    rest = f" {counted}: {duration(seconds)}{left}"
    cells = _BAR if width is None else min(_BAR, width - len(f"{what} []{rest}"))
    if not bar or cells < _LEAST_BAR:
        return _fitted(what, rest, width)
    filled = round(cells * part)
    return f"{what} [{'=' * filled}{' ' * (cells - filled)}]{rest}"


def _fitted(what: str, rest: str, width: int | None) -> str:
    if width is not None and len(what + rest) > width:
        room = max(width - len(rest) - 3, 2)
        what = f"{what[: room // 2]}...{what[len(what) - (room - room // 2) :]}"
    return f"{what}{rest}"[:width]
