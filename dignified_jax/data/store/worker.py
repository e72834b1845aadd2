"""A process of `workers`: reads a job, then items, and writes each one's result."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable


def main() -> None:
    """Serves until standard input ends, which it does when the process that reads results dies."""
    # Results go where standard output went; whatever a library prints goes nowhere.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # transformers imports it if it can, which takes seconds; tokenizers have no use for it.
    sys.modules["torch"] = None
    requests = sys.stdin.buffer
    try:
        job = pickle.load(requests)
        while True:
            results.write(_answer(job, pickle.load(requests)))
            results.flush()
    except (EOFError, BrokenPipeError):
        pass


def _answer(job: Callable[[object], object], item: object) -> bytes:
    """(whether it could be done, its result), as bytes."""
    try:
        return pickle.dumps((True, job(item)), pickle.HIGHEST_PROTOCOL)
    except Exception:  # of any kind: it is met again where it can be raised
        return pickle.dumps((False, None))
