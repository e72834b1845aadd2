"""Joins the processes of a job through JAX, and opens the wire between them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from typing import IO, Any

import jax
from jax._src import clusters, distributed

from dignified_jax.cluster.meeting import Seat, listening, meet
from dignified_jax.cluster.settings import DistributedConfig
from dignified_jax.cluster.wire import Wire, open_lines
from dignified_jax.typed_config import ConfigError

_KEY = "dignified_jax/wire"
_CONNECT_SECONDS = 60
_JAX_LATER = 3
"""JAX ends a job whose heartbeats fail too, with a dump of its stack; so long after we do."""


def start(config: DistributedConfig) -> None:
    """Joins the other processes, before anything touches a device.

    What the configuration leaves out comes from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, else from SLURM, Open MPI, Kubernetes or a Cloud TPU.

    Raises:
      ConfigError: this is none of these, or the others are not found.
    """
    coordinator = config.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    settings = {
        "coordinator_address": coordinator,
        "num_processes": _number(config.processes, "JAX_NUM_PROCESSES"),
        "process_id": _number(config.process, "JAX_PROCESS_ID"),
        "local_device_ids": local_devices(os.environ),
    }
    try:
        # What `initialize` would find out itself.
        found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            *settings.values(), None, config.join_timeout
        )
        settings = dict(zip(settings, found, strict=True))
        place = tuple(found[:3])
        if None not in place and place[1] > 1:
            meet(Seat(*place), config.join_timeout)
        _initialize(config, settings)
    except (RuntimeError, TypeError, OSError) as error:
        raise _unjoined(error) from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise _unjoined(error) from error


def _initialize(config: DistributedConfig, settings: Mapping[str, Any]) -> None:
    further = {
        "initialization_timeout": config.join_timeout,
        "heartbeat_timeout_seconds": _JAX_LATER * config.timeout,
        # The first process may export and draw for long when the others are done.
        "shutdown_timeout_seconds": 24 * 3600,
    }
    jax.distributed.initialize(**settings, **further)


def _unjoined(error: Exception) -> ConfigError:
    reason = str(error).strip().partition("\n")[0]
    return ConfigError(
        f"distributed: the processes can't be joined: {reason}; outside a cluster, give "
        "distributed.coordinator=HOST:PORT, distributed.processes and distributed.process"
    )


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


def connect(wire: Wire) -> None:
    """Connects the wire: the first process waits for the others, in the background."""
    if jax.process_index() == 0:
        _listen(wire)
    else:
        _call(wire)


def _listen(wire: Wire) -> None:
    token = secrets.token_hex(16)
    server = listening(0)

    def accept() -> None:
        for _ in range(2 * jax.process_count()):
            reader, writer = open_lines(server.accept()[0])
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                greeting = json.loads(reader.readline())
                if secrets.compare_digest(greeting["token"], token):  # else not one of us
                    wire.add(int(greeting["process"]), reader, writer)

    threading.Thread(target=accept, daemon=True).start()
    content = json.dumps({"port": server.getsockname()[1], "token": token})
    distributed.global_state.client.key_value_set(_KEY, content)


def _call(wire: Wire) -> None:
    """Where the port is closed, JAX notices a loss, though later."""
    state = distributed.global_state
    found = json.loads(state.client.blocking_key_value_get(_KEY, 1000 * _CONNECT_SECONDS))
    host = state.coordinator_address.rpartition(":")[0].strip("[]")
    with contextlib.suppress(OSError):
        connection = socket.create_connection((host, found["port"]), timeout=_CONNECT_SECONDS)
        connection.settimeout(None)
        reader, writer = open_lines(connection)
        greet(writer, found["token"])
        wire.add(0, reader, writer)


def greet(writer: IO[str], token: str) -> None:
    """Writes the first line of a connection, by which the first process knows its own."""
    writer.write(json.dumps({"process": jax.process_index(), "token": token}) + "\n")
    writer.flush()
