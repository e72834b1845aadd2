"""The processes of a job meet before JAX joins them: JAX aborts with a dump of its stack where one
does not come, and does not say which.

They meet at the coordinator's own port, at which the first process then listens no more; the
connections stay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time

from dignified_jax.typed_config import ConfigError

_PAUSE_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
_MOST_BYTES = 10_000  # of a line
Connections = dict[int, socket.socket]
"""Number of a process -> the connection to it."""
_Came = dict[int, tuple[str, socket.socket]]
"""Number of a process that is there -> its host and its connection."""


@dataclasses.dataclass(frozen=True)
class Seat:
    """Where a process is in its job.

    Attributes:
      coordinator: HOST:PORT of the first process.
      count: number of processes.
      process: number of this one.
    """

    coordinator: str
    count: int
    process: int


def meet(place: Seat, seconds: float) -> Connections:
    """Waits until all processes are there.

    Args:
      place: of this one.
      seconds: to wait at most.

    Returns:
      In the first process the connections to all others, in those the one to it.

    Raises:
      ConfigError: some are not there after so long, one is started twice, or two have been told
        other numbers of processes; says which.
    """
    host, _, port = place.coordinator.rpartition(":")
    until = time.monotonic() + seconds
    if place.process == 0:
        met = _receive(place, int(port), until, seconds)
    else:
        met = {0: _come(place, (host.strip("[]"), int(port)), until, seconds)}
    for connection in met.values():
        connection.settimeout(None)
    return met


def listening(port: int) -> socket.socket:
    """Returns a socket that listens at a port, 0 for any, of IPv6 and IPv4 where it can.

    Raises:
      OSError: something else does already.
    """
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _receive(place: Seat, port: int, until: float, seconds: float) -> Connections:
    """Waits for the others, and tells them that all are there."""
    came: _Came = {}
    try:
        with listening(port) as server, contextlib.ExitStack() as stack:
            while missing := _still_missing(came, place.count):
                server.settimeout(max(until - time.monotonic(), 0.01))
                try:
                    connection = stack.enter_context(server.accept()[0])
                except TimeoutError:
                    listed = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
                    _refuse(came, f"no process {listed} of {place.count} after {seconds:.0f} s")
                if (guest := _greeting(connection)) is None:
                    continue
                number, host, count = guest
                if count != place.count or number not in range(1, place.count):
                    _refuse(
                        {**came, number: (host, connection)},
                        f"process {number} on {host} is told that there are {count} processes, and "
                        f"process 0 that there are {place.count}",
                    )
                if number in came and not _is_closed(came[number][1]):
                    _refuse(
                        {**came, -1: (host, connection)},
                        f"process {number} is started twice, on {came[number][0]} and {host}",
                    )
                came[number] = host, connection
            _answer(came, "")
            kept = {number: connection.dup() for number, (_, connection) in came.items()}
    except OSError as error:
        raise ConfigError(
            f"distributed.coordinator: process 0 can't listen at port {port}: "
            f"{error.strerror or error}",
            "distributed.coordinator",
        ) from error
    return kept


def _still_missing(came: _Came, count: int) -> list[int]:
    """Takes those that came and went out of `came`; numbers of the processes that are not there."""
    for number in [n for n, (_, connection) in came.items() if _is_closed(connection)]:
        del came[number]
    return sorted(set(range(1, count)) - came.keys())


def _greeting(connection: socket.socket) -> tuple[int, str, int] | None:
    """Number, host and count that a process says; None where a stranger says something else."""
    connection.settimeout(_ANSWER_SECONDS)
    try:
        told = json.loads(_line(connection))
        return int(told["process"]), str(told["host"]), int(told["processes"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _line(connection: socket.socket) -> bytes:
    """The next line and no byte more, as the connection is read on by others."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < _MOST_BYTES and (byte := connection.recv(1)):
        line += byte
    return bytes(line)


def _refuse(came: _Came, reason: str) -> None:
    _answer(came, reason)
    raise ConfigError(f"distributed: {reason}")


def _answer(came: _Came, reason: str) -> None:
    for _, connection in came.values():
        with contextlib.suppress(OSError):
            connection.sendall((json.dumps({"reason": reason}) + "\n").encode())


def _is_closed(connection: socket.socket) -> bool:
    """Says that a process which came has gone since, as one that is started again."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(_ANSWER_SECONDS)


def _come(place: Seat, address: tuple[str, int], until: float, seconds: float) -> socket.socket:
    """Goes to the first process, and waits for its answer."""
    here = f"process {place.process} on {socket.gethostname()}"
    while True:
        try:
            connection = socket.create_connection(address, timeout=_ANSWER_SECONDS)
            break
        except (OSError, OverflowError) as error:
            if time.monotonic() > until:
                raise ConfigError(
                    f"distributed: {here} has waited for {seconds:.0f} s for the first process at "
                    f"{place.coordinator} ({error}); is it started, and may its port be reached "
                    "from here? distributed.join_timeout sets the seconds",
                    "distributed.coordinator",
                ) from error
        time.sleep(_PAUSE_SECONDS)
    told = {"process": place.process, "processes": place.count, "host": socket.gethostname()}
    answer = b""
    with contextlib.suppress(OSError):
        connection.sendall((json.dumps(told) + "\n").encode())
        # The first process gives up before, and says for whom it has waited.
        connection.settimeout(max(until - time.monotonic(), 0) + 2 * _ANSWER_SECONDS)
        answer = _line(connection)
    if not answer:
        raise ConfigError(f"distributed: {here}: the first process has ended before all were there")
    if reason := json.loads(answer)["reason"]:
        raise ConfigError(f"distributed: {reason}")
    return connection
