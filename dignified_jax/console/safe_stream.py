"""Output that may fail without stopping the run that writes it."""

from __future__ import annotations

import contextlib
import os
from typing import TextIO


class SafeStream:
    """A text stream that drops what it can't write, rather than raise.

    When the reader of a pipe has gone, its file descriptor is pointed at the null device, so that
    no print elsewhere, nor the interpreter's last flush, fails either.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # None where the process was started without standard output
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        known = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._try("write", known)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def isatty(self) -> bool:
        return bool(self._try("isatty"))

    def fileno(self) -> int:
        return self._stream.fileno()

    def _try(self, name: str, *arguments: str) -> object:
        if self._stream is None:
            return None
        try:
            return getattr(self._stream, name)(*arguments)
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
        except (OSError, ValueError):  # a full disk, a terminal that hung up; a closed file
            pass
        return None


def say_now(line: str) -> None:
    """Writes a line on stderr past all buffers, for handlers of signals and threads that watch.

    It is dropped where nobody reads any more, such as a `tee` that the same Ctrl-C has ended: what
    comes after it, an exit among it, must not depend on that.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))
