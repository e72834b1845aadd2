"""Threads in the background print no traceback: what went wrong there is raised where it is met."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

from absl import logging as absl_logging

_LIBRARIES = ("orbax", "asyncio", "tensorboardX")


@contextlib.contextmanager
def background() -> Iterator[None]:
    """Silences the tracebacks of checkpointing's threads, unless --verbosity=1 asks for all."""
    if absl_logging.get_verbosity() >= absl_logging.DEBUG:
        yield
        return
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    thread_hook, unraisable_hook = threading.excepthook, sys.unraisablehook

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if not _of_library(arguments.exc_traceback):
            thread_hook(arguments)

    def unraisable(arguments: Any) -> None:  # its type has no public name
        if not _of_library(arguments.exc_traceback):
            unraisable_hook(arguments)

    for logger in loggers:
        logger.addFilter(_is_no_traceback)
    threading.excepthook, sys.unraisablehook = in_thread, unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread_hook, unraisable_hook
        for logger in loggers:
            logger.removeFilter(_is_no_traceback)


def _is_no_traceback(record: logging.LogRecord) -> bool:
    return not (record.exc_info and _is_of_library(record.pathname))


def _of_library(traceback: types.TracebackType | None) -> bool:
    while traceback is not None:
        if _is_of_library(traceback.tb_frame.f_code.co_filename):
            return True
        traceback = traceback.tb_next
    return False


def _is_of_library(file: str) -> bool:
    return not set(_LIBRARIES).isdisjoint(pathlib.Path(file).parts)
