"""A line that says how far something is: redrawn in a terminal, elsewhere a new one at times."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from dignified_jax.console.safe_stream import SafeStream

SECONDS_BETWEEN_DRAWINGS = 0.5
# Where the line can't be overwritten, as in a log.
SECONDS_BETWEEN_LINES = 10.0


class ProgressLine:
    """The line, on stderr. Output that fails never stops what it tells of."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
          stream: to write to in place of stderr.
          clock: seconds.
        """
        self._stream = SafeStream(sys.stderr if stream is None else stream)
        self._terminal = self._stream.isatty()
        self._clock, self._next, self._drawn = clock, clock(), 0

    def show(self, text: Callable[[], str], last: bool = False) -> None:
        """Shows a text, if it is time for it.

        Args:
          text: makes it.
          last: whether it stays: it is shown in any case, and ends the line.
        """
        if not last and self._clock() < self._next:
            return
        pause = SECONDS_BETWEEN_DRAWINGS if self._terminal else SECONDS_BETWEEN_LINES
        self._next = self._clock() + pause
        line = text()
        if self._terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # a second line would stay
            self._stream.write(f"\r{line:<{self._drawn}}" + ("\n" if last else ""))
            self._drawn = 0 if last else len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Returns "42 s", "7 min 5 s" or "3 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
