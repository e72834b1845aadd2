"""Processes that share a job: each is given the whole job once, then item after item.

They are fresh interpreters that know nothing of this one's threads or devices, so they are safe
beside JAX, and run no code of the main script. They end when this process does, however it ends.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 8
_AHEAD = 2  # items a process, done or under way, that nobody has taken yet
MOST_AHEAD = _AHEAD * MOST
"""Items that `map_in_order` takes at most before it yields the first result."""
_START = (
    "import sys; sys.path[:] = {path!r}; from dignified_jax.data.store import worker; worker.main()"
)


def available(items: int, items_a_worker: int) -> int:
    """Returns how many processes a job of so many items is worth, at most one a core."""
    return max(1, min(_cores(), MOST, items // items_a_worker))


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    job: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Yields `job(item)` of every item, in order.

    What a process can't do is done in this one, which then raises what there is to raise; so is
    what one had that died, as for want of memory.

    Args:
      job: a function that can be pickled, as items and results can.
      items: taken as they are needed, a few ahead.
      count: processes; with 1, or a job that can't be pickled, all is done in this one.

    Raises:
      Exception: what the job raises, for the first item of which it does.
    """
    content = _pickled(job) if count > 1 else None
    if content is None:
        yield from map(job, items)
        return
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        with contextlib.suppress(OSError):  # too many processes, or too little memory
            for _ in range(count):
                worker = _Worker(content)
                stack.callback(worker.close)
                idle.put(worker)
        count = idle.qsize()
        if not count:
            yield from map(job, items)
            return
        threads = ThreadPoolExecutor(count)
        stack.callback(threads.shutdown, cancel_futures=True)

        def ask(item: Item) -> Result:
            worker = idle.get()
            try:
                done, result = worker.ask(item)
            except (EOFError, OSError, pickle.UnpicklingError):  # it has died
                done, result = False, None
            finally:
                idle.put(worker)
            return result if done else job(item)

        waiting: collections.deque[Future[Result]] = collections.deque()
        items = iter(items)
        for item in itertools.islice(items, _AHEAD * count):
            waiting.append(threads.submit(ask, item))
        while waiting:
            result = waiting.popleft().result()
            for item in itertools.islice(items, 1):
                waiting.append(threads.submit(ask, item))
            yield result


def _pickled(job: Callable[[Item], Result]) -> bytes | None:
    try:
        return pickle.dumps(job)
    except Exception:  # of any kind: a slow tokenizer, say, may hold what can't be
        return None


class _Worker:
    """A process that has been given a job."""

    def __init__(self, job: bytes) -> None:
        # Each does one item at a time; threads of its own would take the others' cores.
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is this process's to handle
        )
        self._job: bytes | None = job

    def ask(self, item: object) -> tuple[bool, object]:
        """Returns whether an item could be done, and its result; one thread at a time.

        Raises:
          EOFError, OSError, UnpicklingError: the process has died.
        """
        if self._job is not None:  # here and not at once: a pipe holds less than a job
            job, self._job = self._job, None
            self._process.stdin.write(job)
        pickle.dump(item, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        with contextlib.suppress(OSError):  # what was not written yet
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
