"""This process among those of its job: where it stands, heartbeats, and the end that all share."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from dignified_jax.cluster import last_words
from dignified_jax.cluster.meeting import Connections
from dignified_jax.cluster.standing import Kind, Standing, find_straggler, named
from dignified_jax.cluster.wire import GO_ON, Wire, open_lines
from dignified_jax.console.safe_stream import say_now
from dignified_jax.files.differences import differences
from dignified_jax.typed_config import ConfigError

_BEAT, _FACTS = "beat", "facts"
WORK = ("job", "item", "result", "done", "over")
"""Kinds of messages that wait in a member's inbox; see `team` and `dealing`."""
_MOST_BEAT_SECONDS, _LEAST_BEAT_SECONDS = 5.0, 0.1
# How long a process that fails waits for the news to be on its way, or for those of another.
_LINGER_SECONDS = 1.0
_current: Member | None = None


class Member:
    """One of the processes of a job.

    Attributes:
      index, count: number of this process, and how many there are.
      host: name of its machine.
      wire: to the others.
      inbox: (process, message) of work that is shared.
    """

    def __init__(self, timeout: float) -> None:
        """
        Args:
          timeout: seconds, of `find_straggler`.
        """
        self.index, self.count = jax.process_index(), jax.process_count()
        self.host = socket.gethostname()
        self.wire = Wire(self.index, self._described, lambda: self._own.place)
        self.inbox: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        for kind in WORK:
            self.wire.handle(kind, lambda process, message: self.inbox.put((process, message)))
        self._timeout, self._lock, self._moved = timeout, threading.Lock(), threading.Event()
        now = time.monotonic()
        self._own = Standing(self.host, "the start", "long", 0, now, now)
        self._others: dict[int, Standing] = {}
        # How often a process has said `again`, by its number.
        self._moves: collections.Counter[int] = collections.Counter()
        self._longest_step: float | None = None
        self._told: set[tuple[int | None, int]] = set()
        self._facts: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self.wire.handle(_BEAT, self._heard)
        self.wire.handle(_FACTS, lambda process, message: self._facts.put(message["facts"]))

    def start(self) -> None:
        """Begins to tell the others that this process lives, and to look for one that does not."""
        threading.Thread(target=self._watch, daemon=True).start()

    def at(self, place: str, kind: Kind) -> None:
        """Says where this process stands from now on."""
        now = time.monotonic()
        with self._lock:
            before = self._own
            self._own = Standing(self.host, place, kind, before.ticks + 1, now, now)
            if before.kind == "step":
                self._longest_step = max(self._longest_step or 0.0, now - before.since)
        self._moved.set()

    def again(self, place: str, kind: Kind) -> None:
        """Says that this process goes on, without having come to where the others come too."""
        now = time.monotonic()
        with self._lock:
            self._own = Standing(self.host, place, kind, self._own.ticks, now, now)
            self._moves[self.index] += 1

    def agree(self, what: str, facts: Mapping[str, Any]) -> None:
        """Refuses to go on where this process has other facts than the first one.

        Every process calls it as often, in the same order.

        Raises:
          ConfigError: they differ; names this process, its host, and both values of each.
        """
        if self.index == 0:
            self.wire.tell(_FACTS, facts=dict(facts))
            return
        # The wire ends this process if the first one fails before it gets there.
        self.compare(what, self._facts.get(), facts)

    def compare(self, what: str, first: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        """Refuses to go on where this process has other facts than the first one, whose are known.

        Raises:
          ConfigError: as `agree`.
        """
        lines = differences(first, json.loads(json.dumps(dict(here))))
        if lines:
            told = "; ".join(
                line.replace(" there, ", " in process 0, ").removesuffix(" now") + " here"
                for line in lines
            )
            raise ConfigError(
                f"process {self.index} on {self.host} has {what} other than process 0: {told}"
            )

    def _described(self, process: int) -> str:
        standing = self._others.get(process)
        return named(process, standing) + (f" ({standing.place})" if standing else "")

    def _heard(self, process: int, message: Mapping[str, Any]) -> None:
        now = time.monotonic()
        fields = {name: message[name] for name in ("host", "place", "kind_of", "ticks")}
        kind = fields.pop("kind_of")
        standing = Standing(kind=kind, since=now - message["age"], heard=now, **fields)
        with self._lock:
            before = self._others.get(process)
            # The first report of a place is the nearest to when it was reached.
            stays = message["moves"] == self._moves[process]
            if before is not None and before.ticks == standing.ticks and stays:
                standing = Standing(kind=kind, since=before.since, heard=now, **fields)
            self._moves[process] = message["moves"]
            self._others[process] = standing

    def _watch(self) -> None:
        pause = min(self._timeout / 6, _MOST_BEAT_SECONDS)
        looked = time.monotonic()
        while not self.wire.closed:
            now = time.monotonic()
            # After a long sleep of this process, what the others said meanwhile is not read yet.
            awake, looked = now - looked < self._timeout / 2, now
            with self._lock:
                own, moves = self._own, self._moves[self.index]
                standings = {n: self._others[n] for n in self.wire.connected if n in self._others}
                longest = self._longest_step
            self.wire.tell(
                _BEAT,
                **{"host": own.host, "place": own.place, "kind_of": own.kind},
                **{"ticks": own.ticks, "moves": moves, "age": now - own.since},
            )
            alive = Standing(own.host, own.place, own.kind, own.ticks, own.since, now)
            if not awake:
                pass
            elif self.index == 0:
                self._look({0: alive, **standings}, now, longest)
            elif standings:  # of the first process, whose own watch looks for the others
                frozen = {0: standings[0], self.index: alive}
                if now - standings[0].heard > self._timeout:
                    self._look(frozen, now, longest)
            time.sleep(_LEAST_BEAT_SECONDS)
            self._moved.wait(pause)
            self._moved.clear()

    def _look(self, standings: Mapping[int, Standing], now: float, longest: float | None) -> None:
        missing = find_straggler(standings, now, self._timeout, longest)
        if missing is None or len(standings) == 1:
            return
        if missing.ends:
            self.wire.end(f"{missing.reason}; {GO_ON}")
        which = missing.process, standings[missing.process].ticks
        if which not in self._told:
            self._told.add(which)
            say_now(f"note: {missing.reason}")


@contextlib.contextmanager
def watched(
    timeout: float, connections: Connections, *together: type[BaseException]
) -> Iterator[None]:
    """Ends this process in a line if another fails, is lost or hangs, and tells the others if it
    fails itself.

    Args:
      timeout: seconds that the others wait for one, as in `find_straggler`.
      connections: between the first process and each of the others, by number; none alone.
      together: errors that end all processes at the same place, so that there is nothing to tell.
    """
    if not connections:
        yield
        return
    global _current
    _current = member = Member(timeout)
    for process, connection in connections.items():
        member.wire.add(process, *open_lines(connection))
    member.start()
    try:
        with last_words.heard(_LINGER_SECONDS):
            yield
    except together:
        member.wire.close(None)
        raise
    except BaseException as error:
        if isinstance(error, jax.errors.JaxRuntimeError):
            # A collective fails where another process is lost, which the wire knows by name.
            threading.Event().wait(_LINGER_SECONDS)
        member.wire.close(str(error) or type(error).__name__)
        raise
    else:
        member.wire.close(None)
    finally:
        _current = None


def current() -> Member | None:
    """Returns this process's membership; None where it is alone."""
    return _current


def is_first() -> bool:
    """Says that this process reads, writes and shows for all: the first one, or one that is
    alone."""
    return _current is None or _current.index == 0


def at(place: str, kind: Kind = "long") -> None:
    """Says where this process stands from now on, if there are others.

    Args:
      place: in words, such as "step 7".
      kind: of it.
    """
    if _current is not None:
        _current.at(place, kind)


def again(place: str, kind: Kind) -> None:
    """Says that this process goes on, if there are others, at something that they don't come to.

    Args:
      place, kind: as for `at`.
    """
    if _current is not None:
        _current.again(place, kind)


def agree(what: str, facts: Mapping[str, Any]) -> None:
    """Checks facts that have to be the same in all processes; see `Member.agree`."""
    if _current is not None:
        _current.agree(what, facts)


def leave(status: int) -> None:
    """Exits now where there are several processes: JAX would wait for the others."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        threading.Event().wait(_LINGER_SECONDS)
        os._exit(status)
