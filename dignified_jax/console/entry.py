"""How a command begins and ends: Ctrl-C is one line and exit status 130, at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from dignified_jax.console.safe_stream import say_now

_INTERRUPTED = 128 + signal.SIGINT
_MODULE_FLAG = "-m"
_TORCH = "torch"
_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
_torch_is_needed = True
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


def run(
    main: Callable[[], int], interrupted: str = "interrupted", without_torch: bool = False
) -> NoReturn:
    """Runs a command's main function and exits with the status that it returns.

    Ctrl-C ends the process at once wherever nothing else handles it. As an exception it would come
    up in the midst of an import or of another's thread, be swallowed there or told in many lines;
    and what is written is written so that a process may die at any moment.

    Args:
      main: returns an exit status.
      interrupted: what is said then.
      without_torch: whether nothing in the command has a use for PyTorch; see `light_imports`.
    """
    global _torch_is_needed
    _torch_is_needed = not without_torch
    _end_at_interrupt(interrupted)
    sys.exit(main())


@contextlib.contextmanager
def light_imports() -> Iterator[None]:
    """Hides PyTorch from what is imported inside, in commands that said so to `run`.

    transformers and tensorboardX import it wherever it is installed, which takes seconds, and do
    without where it is not.
    """
    if _torch_is_needed or _TORCH in sys.modules:
        yield
        return
    before = os.environ.get(_ADVICE)
    os.environ[_ADVICE] = "1"  # of there being no PyTorch
    sys.modules[_TORCH] = None
    try:
        yield
    finally:
        del sys.modules[_TORCH]
        os.environ.pop(_ADVICE)
        if before is not None:
            os.environ[_ADVICE] = before


def _end_at_interrupt(said: str) -> None:
    """A Ctrl-C that is ignored, as in commands in the background, or handled otherwise stays so."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        say_now(said)
        os._exit(_INTERRUPTED)

    global _handler
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _handler):
        _handler = end
        signal.signal(signal.SIGINT, end)
