"""How a command begins and ends: Ctrl-C is one line and exit status 130, at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT
_MODULE_FLAG = "-m"


def watch_imports() -> None:
    """Makes Ctrl-C end `python -m dignified_jax...` at once while its packages load.

    They load before any line of the command's own module, and nothing can be lost yet. Does nothing
    where the package is imported for another reason.
    """
    words = sys.orig_argv
    if sys.argv[:1] == [_MODULE_FLAG] and _MODULE_FLAG in words:  # as runpy has it at that time
        module = words[words.index(_MODULE_FLAG) + 1]
        if module.partition(".")[0] == __name__.partition(".")[0]:
            _end_at_interrupt()


def run(main: Callable[[], int]) -> NoReturn:
    """Runs a command's main function and exits with the status that it returns."""
    try:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Makes Ctrl-C end the process at once inside, where modules are imported.

    An exception in the midst of an import may be swallowed, or told in many lines.
    """
    former = signal.getsignal(signal.SIGINT)
    _end_at_interrupt()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, former)


def _end_at_interrupt() -> None:
    """A Ctrl-C that is ignored, as in commands in the background, or handled otherwise stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)
