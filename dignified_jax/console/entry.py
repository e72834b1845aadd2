"""How a command begins and ends: Ctrl-C is one line and exit status 130, at any moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT
_MODULE_FLAG = "-m"
_handler: Callable[[int, FrameType | None], NoReturn] | None = None


def watch_imports() -> None:
    """Makes Ctrl-C end `python -m dignified_jax...` at once while its packages load.

    They load before any line of the command's own module, and nothing can be lost yet. Does nothing
    where the package is imported for another reason.
    """
    words = sys.orig_argv
    if sys.argv[:1] == [_MODULE_FLAG] and _MODULE_FLAG in words:  # as runpy has it at that time
        module = words[words.index(_MODULE_FLAG) + 1]
        if module.partition(".")[0] == __name__.partition(".")[0]:
            _end_at_interrupt("interrupted")


def run(main: Callable[[], int], interrupted: str = "interrupted") -> NoReturn:
    """Runs a command's main function and exits with the status that it returns.

    Ctrl-C ends the process at once wherever nothing else handles it. As an exception it would come
    up in the midst of an import or of another's thread, be swallowed there or told in many lines;
    and what is written is written so that a process may die at any moment.

    Args:
      main: returns an exit status.
      interrupted: what is said then.
    """
    _end_at_interrupt(interrupted)
    sys.exit(main())


def _end_at_interrupt(said: str) -> None:
    """A Ctrl-C that is ignored, as in commands in the background, or handled otherwise stays so."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        os.write(2, f"{said}\n".encode())
        os._exit(_INTERRUPTED)

    global _handler
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _handler):
        _handler = end
        signal.signal(signal.SIGINT, end)
