"""Runs of several processes: how they find each other, and that none outlives another for long.

JAX learns of a lost process after a minute, and then aborts with a dump of its stack; one that
refuses its input leaves the others waiting for five. Here every process holds a connection to the
first, which the system closes when either dies, and over which the reason of an end is passed on.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

import jax
from jax._src import distributed

from dignified_jax.training.config import ClusterConfig, ConfigError
from dignified_jax.training.run.interrupt import Interrupted

_KEY = "dignified_jax/wire"
_CONNECT_SECONDS = 60
_GO_ON = "the same command goes on from the last checkpoint"
# How long a process that fails waits for the news to be on its way.
_LINGER_SECONDS = 1.0


def start(config: ClusterConfig) -> None:
    """Joins the other processes, before anything touches a device.

    What the configuration leaves out comes from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, else from SLURM, Open MPI, Kubernetes or a Cloud TPU.

    Raises:
      ConfigError: this is none of these, or the others are not found.
    """
    settings = {
        "coordinator_address": config.coordinator,
        "num_processes": _number(config.processes, "JAX_NUM_PROCESSES"),
        "process_id": _number(config.process, "JAX_PROCESS_ID"),
        "local_device_ids": local_devices(os.environ),
    }
    try:
        jax.distributed.initialize(**settings)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"distributed: the processes can't be joined: {reason}; outside a cluster, give "
            "cluster.coordinator=HOST:PORT, cluster.processes and cluster.process"
        ) from error


def _number(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise ConfigError(f"{variable} must be a whole number, found {text!r}")
    return int(text)


def local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Numbers of this process's GPUs where SLURM starts one task a node; None leaves it to JAX.

    JAX takes one GPU a task.
    """
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_TASKS_PER_NODE"))
    if "JAX_LOCAL_DEVICE_IDS" in environment or tasks is None:
        return None
    if {entry.partition("(")[0] for entry in tasks.split(",")} != {"1"}:
        return None
    visible = environment.get("CUDA_VISIBLE_DEVICES", environment.get("SLURM_STEP_GPUS"))
    if visible:
        return list(range(len(visible.split(","))))
    count = environment.get("SLURM_GPUS_ON_NODE", "")
    return list(range(int(count))) if count.isdecimal() and int(count) else None


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Ends this process in a line if another fails or is lost, and tells the others if it does."""
    if jax.process_count() == 1:
        yield
        return
    wire = _first() if jax.process_index() == 0 else _other()
    try:
        yield
    except Interrupted:  # as all of them are, after the same step
        wire.close(None)
        raise
    except BaseException as error:
        wire.close(str(error) or type(error).__name__)
        raise
    wire.close(None)


def leave(status: int) -> None:
    """Exits now where there are several processes: JAX would wait for the others."""
    if distributed.global_state.client is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        threading.Event().wait(_LINGER_SECONDS)
        os._exit(status)


class _Wire:
    """Connections of this process, by the number of the process at the other end."""

    def __init__(self) -> None:
        self._streams: dict[int, IO[str]] = {}
        self._lock = threading.Lock()

    def add(self, process: int, stream: IO[str]) -> None:
        """Listens to a process from now on."""
        with self._lock:
            self._streams[process] = stream
        threading.Thread(target=self._listen, args=(process, stream), daemon=True).start()

    def close(self, reason: str | None) -> None:
        """Tells all others that this process ends, and why if it failed."""
        self._tell({"process": jax.process_index(), "reason": reason})

    def _tell(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            for stream in self._streams.values():
                with contextlib.suppress(OSError, ValueError):  # it has ended too
                    stream.write(json.dumps(message) + "\n")
                    stream.flush()

    def _listen(self, process: int, stream: IO[str]) -> None:
        line = ""
        with contextlib.suppress(OSError, ValueError):
            line = stream.readline()
        message = json.loads(line) if line.endswith("\n") else None
        if message is None:
            lost = f"process {process} was lost (killed, out of memory, or its machine is down)"
            message = {"process": process, "reason": f"{lost}; {_GO_ON}", "lost": True}
        if message["reason"] is None:
            with self._lock:
                self._streams.pop(process, None)
            return
        self._tell(message)
        _end(message)


def _end(message: Mapping[str, Any]) -> NoReturn:
    before = "" if message.get("lost") else f"process {message['process']}: "
    os.write(2, f"error: {before}{message['reason']}\n".encode())
    os._exit(1)


def _first() -> _Wire:
    """The first process's end: waits for the others to connect, in the background."""
    wire, token = _Wire(), secrets.token_hex(16)
    server = socket.create_server(("", 0), backlog=jax.process_count())

    def accept() -> None:
        for _ in range(2 * jax.process_count()):
            stream = _stream(server.accept()[0])
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                greeting = json.loads(stream.readline())
                if secrets.compare_digest(greeting["token"], token):  # else not one of us
                    wire.add(int(greeting["process"]), stream)

    threading.Thread(target=accept, daemon=True).start()
    content = json.dumps({"port": server.getsockname()[1], "token": token})
    distributed.global_state.client.key_value_set(_KEY, content)
    return wire


def _other() -> _Wire:
    """Another process's end. Where the port is closed, JAX notices a loss, though later."""
    wire, state = _Wire(), distributed.global_state
    found = json.loads(state.client.blocking_key_value_get(_KEY, 1000 * _CONNECT_SECONDS))
    host = state.coordinator_address.rpartition(":")[0].strip("[]")
    with contextlib.suppress(OSError):
        connection = socket.create_connection((host, found["port"]), timeout=_CONNECT_SECONDS)
        connection.settimeout(None)
        stream = _stream(connection)
        stream.write(json.dumps({"process": jax.process_index(), "token": found["token"]}) + "\n")
        stream.flush()
        wire.add(0, stream)
    return wire


def _stream(connection: socket.socket) -> IO[str]:
    # A machine that is down closes nothing: probes find it within half a minute.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return connection.makefile("rw", encoding="utf-8")
