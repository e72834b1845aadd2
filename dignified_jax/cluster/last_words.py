"""Time for last words where something else aborts this process."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import time
from collections.abc import Iterator


@contextlib.contextmanager
def heard(seconds: float) -> Iterator[None]:
    """Lets the threads of this process go on for a while after an abort, as one may end it first.

    JAX aborts a process from a thread of its own as soon as the first process is gone, without
    saying which that was. A handler of Python's would not be called before the process is dead.

    Args:
      seconds: that an abort waits.
    """
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = kind(lambda number: time.sleep(seconds))
    install = ctypes.CDLL(None).signal
    install.restype, install.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    former = install(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        install(signal.SIGABRT, former)
