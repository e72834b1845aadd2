"""A lock of a directory in a store: one object, written on condition, and again and again.

The holder writes its object anew every few seconds. Who finds one that changes is refused; who
finds one that has not changed for `STALE_SECONDS` takes it over, on the condition that it is still
that one, so of two only one succeeds. No clock is compared. A holder that was frozen for so long,
or cut off, is told at its next `Lock.confirm`, and must write no more. What was on its way when it
froze may still arrive: the lock is asked before each checkpoint and not by each byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from dignified_jax.files import lock, process, store

FILE = ".lock"
BEAT_SECONDS = 10.0
STALE_SECONDS = 45.0
# A store that does not answer for so long is told as an error.
ANSWER_SECONDS = 60.0
_FREE = "none"
# TensorStore's generation of what is not there.
_ABSENT = b"\x02"
# Of the locks that this process holds.
_TOKENS: set[str] = set()


class Lock:
    """Held between `held`'s begin and end.

    Raises:
      BusyError: another run has taken the directory over.
    """

    def __init__(self, url: str, opened: Any, generation: bytes) -> None:
        self._url, self._store, self._generation = url, opened, generation
        self._token, self._beats = secrets.token_hex(8), 0
        _TOKENS.add(self._token)
        self._one = threading.Lock()

    def confirm(self) -> None:
        """Writes the object anew, which fails where it is no longer ours.

        Raises:
          BusyError: another run has taken the directory over.
          StoreError: the store does not answer.
        """
        with self._one:
            self._beats += 1
            if not self._write(_holder() | {"token": self._token, "beat": self._beats}):
                raise lock.BusyError(
                    f"{self._url}: another run took the directory over ({_of(self._read())}), "
                    "since this one was not heard of for too long; it ends here"
                )

    def release(self) -> None:
        """Says that nobody holds the directory."""
        _TOKENS.discard(self._token)
        with self._one:
            self._write({"holder": _FREE})

    def _write(self, content: dict[str, Any]) -> bool:
        with store.told(self._url):
            stamp = _answer(self._store.write(FILE, _bytes(content), if_equal=self._generation))
            if stamp.generation:
                self._generation = stamp.generation
                return True
            # A write whose answer was lost and that was tried again fails on its own condition.
            found = _answer(self._store.read(FILE))
            if found.value != _bytes(content):
                return False
            self._generation = found.stamp.generation
            return True

    def _read(self) -> bytes:
        with store.told(self._url):
            return _answer(self._store.read(FILE)).value


@contextlib.contextmanager
def held(
    url: str,
    notify: Callable[[str], None],
    beat_seconds: float = BEAT_SECONDS,
    stale_seconds: float = STALE_SECONDS,
) -> Iterator[Lock]:
    """Holds a directory, for as long as this process lives.

    Args:
      url: of the directory.
      notify: shows a line to a person: whom is waited for, and if the store can't lock.
      beat_seconds: between two writes of the object.
      stale_seconds: after which one that does not change is taken over.

    Raises:
      BusyError: another process holds it; says which.
      StoreError: the store can't be reached or written to.
    """
    with store.told(url):
        import tensorstore

        opened = _answer(tensorstore.KvStore.open(store.kvstore(url)))
        generation = _free(opened, url, notify, stale_seconds)
    ours = Lock(url, opened, generation)
    ours.confirm()
    with store.told(url):
        if _answer(opened.write(FILE, b"\n", if_equal=_ABSENT)).generation:
            notify(f"{url}: its store writes on no condition; start no second run here at once")
            ours = Lock(url, opened, _answer(opened.read(FILE)).stamp.generation)
            ours.confirm()
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(beat_seconds):
            # What fails is told by the next `confirm` of the holder itself.
            with contextlib.suppress(store.StoreError, lock.BusyError):
                ours.confirm()

    thread = threading.Thread(target=beat, name="store lock", daemon=True)
    thread.start()
    try:
        yield ours
    finally:
        stopped.set()
        thread.join(ANSWER_SECONDS)
        with contextlib.suppress(store.StoreError):  # it is stale soon
            ours.release()


def _free(opened: Any, url: str, notify: Callable[[str], None], stale_seconds: float) -> bytes:
    """The generation of a lock object that nobody holds, or of none."""
    first = found = _answer(opened.read(FILE))
    begun = time.monotonic()
    while not _ours_to_take(found.value):
        if found.value != first.value:
            raise lock.BusyError(
                f"{url}: another run is writing here ({_of(found.value)}); wait for it, or choose "
                "another directory"
            )
        if time.monotonic() - begun > stale_seconds:
            notify(f"{url}: {_of(found.value)} is gone; its lock is taken over")
            break
        if found is first:
            notify(
                f"{url}: {_of(found.value)} wrote here last; looking for up to "
                f"{stale_seconds:g} s whether it lives"
            )
        time.sleep(min(1.0, stale_seconds / 10))
        found = _answer(opened.read(FILE))
    return found.stamp.generation


def _ours_to_take(content: bytes) -> bool:
    """Returns whether a lock is free, or of a process of this machine that is no more."""
    fields = _fields(content)
    if fields.get("holder") in (None, _FREE):
        return True
    if fields.get("machine") != process.machine() or type(fields.get("process")) is not int:
        return False
    return fields.get("token") not in _TOKENS and not process.alive(fields["process"])


def _holder() -> dict[str, Any]:
    number = os.getpid()
    return {
        "holder": f"process {number} on {socket.gethostname()}",
        "process": number,
        "machine": process.machine(),
    }


def _fields(content: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(content)
        if isinstance(fields, dict):
            return fields
    return {}


def _of(content: bytes) -> str:
    return str(_fields(content).get("holder", "unknown"))[:200]


def _bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content) + "\n").encode()


def _answer(future: Any) -> Any:
    """The result of TensorStore, within a bounded time."""
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s") from error
