"""Connections between the first process of a job and each of the others: a line of JSON a message.

The system closes them when a process dies, at which all end; messages of several kinds go over them
in both directions.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from dignified_jax.console.safe_stream import say_now

Handler = Callable[[int, Mapping[str, Any]], None]
"""Takes the number of the process that a message is from, and the message."""
END = "end"
"""Kind of the last message of a process, with the reason where it failed."""
GO_ON = "the same command goes on from the last checkpoint"
_LAST_WORDS_SECONDS = 2.0


class Wire:
    """The connections of this process, by the number of the process at the other end.

    Attributes:
      closed: whether this process has told that it ends.
    """

    def __init__(self, process: int, name: Callable[[int], str], place: Callable[[], str]) -> None:
        """
        Args:
          process: number of this one.
          name: says which process a number is, in words.
          place: says where this process stands.
        """
        self._process, self._name, self._place = process, name, place
        self._writers: dict[int, tuple[IO[str], threading.Lock]] = {}
        self._handlers: dict[str, Handler] = {}
        self._ending = threading.Lock()
        self._left: set[int] = set()
        self.closed = False

    def handle(self, kind: str, handler: Handler) -> None:
        """Has messages of a kind handled, one after another for each sender."""
        self._handlers[kind] = handler

    def add(self, process: int, reader: IO[str], writer: IO[str]) -> None:
        """Listens to a process from now on."""
        self._writers[process] = writer, threading.Lock()
        threading.Thread(target=self._listen, args=(process, reader), daemon=True).start()

    @property
    def connected(self) -> list[int]:
        """Numbers of the processes at the other ends that have not ended."""
        return sorted({*tuple(self._writers)} - {*tuple(self._left)})  # as others add to them

    def send(self, process: int, kind: str, **content: Any) -> None:
        """Sends a message; one to a process that has ended goes nowhere."""
        found = self._writers.get(process)
        if found is None:
            return
        writer, lock = found
        line = json.dumps({"kind": kind, "process": self._process, **content}) + "\n"
        with lock, contextlib.suppress(OSError, ValueError):
            writer.write(line)
            writer.flush()

    def tell(self, kind: str, **content: Any) -> None:
        """Sends a message to all."""
        for process in self.connected:
            self.send(process, kind, **content)

    def close(self, reason: str | None) -> None:
        """Tells all others that this process ends, and why if it failed. One that ends now too is
        not lost."""
        self.closed = True
        self._tell_end(reason=reason)

    def end(self, reason: str) -> NoReturn:
        """Ends this process with status 1 and a line, and all others with the same."""
        with self._ending:  # the first reason is the one that is told
            self._end(reason)

    def _end(self, reason: str, lost: int | None = None) -> NoReturn:
        # First of all, as JAX aborts this process soon after the first one is gone.
        say_now(f"error: {reason}")
        self._tell_end(lost, reason=reason, whole=True)
        os._exit(1)

    def _tell_end(self, lost: int | None = None, **content: Any) -> None:
        # One that is frozen takes nothing in: the others are not to wait for it.
        threads = [
            threading.Thread(target=self.send, args=(one, END), kwargs=content, daemon=True)
            for one in sorted(self._writers)  # also those that have ended before
            if one != lost
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_LAST_WORDS_SECONDS)

    def _listen(self, process: int, reader: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (line := reader.readline()).endswith("\n"):
                message = json.loads(line)
                if message["kind"] == END:
                    self._ended(process, message)
                    return
                if handler := self._handlers.get(message["kind"]):
                    handler(process, message)
        if self.closed:
            return
        with self._ending:
            reason = (
                f"{self._name(process)} is lost (killed, out of memory, or its machine is down), "
                f"while process {self._process} stood at: {self._place()}; {GO_ON}"
            )
            self._end(reason, process)

    def _ended(self, process: int, message: Mapping[str, Any]) -> None:
        if message["reason"] is None:
            self._left.add(process)
            return
        with self._ending:
            whole = message.get("whole", False)
            reason = message["reason"] if whole else f"{self._name(process)}: {message['reason']}"
            self._end(reason)


def open_lines(connection: socket.socket) -> tuple[IO[str], IO[str]]:
    """Returns what reads lines from a connection and what writes them, a buffer each.

    A machine that is down closes nothing: probes find it within half a minute.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return connection.makefile("r", encoding="utf-8"), connection.makefile("w", encoding="utf-8")
