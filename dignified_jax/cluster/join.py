"""Joins the processes of a job through JAX, after they have met."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import jax

from dignified_jax.cluster.meeting import Connections, Seat, meet
from dignified_jax.cluster.settings import DistributedConfig, check_coordinator
from dignified_jax.typed_config import ConfigError

_JAX_LATER = 3
"""JAX ends a job whose heartbeats fail too, with a dump of its stack; so long after we do."""


def start(config: DistributedConfig) -> Connections:
    """Joins the other processes, before anything touches a device.

    What the configuration leaves out comes from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, else from SLURM, Open MPI, Kubernetes or a Cloud TPU.

    Returns:
      The connections by which they met; none where this process is alone.

    Raises:
      ConfigError: this is none of these, or the others are not found.
    """
    settings = {
        "coordinator_address": config.coordinator or _address("JAX_COORDINATOR_ADDRESS"),
        "num_processes": _number(config.processes, "JAX_NUM_PROCESSES"),
        "process_id": _number(config.process, "JAX_PROCESS_ID"),
        "local_device_ids": local_devices(os.environ),
    }
    try:
        settings = _detected(settings, config.join_timeout)
        place = tuple(settings.values())[:3]
        connections: Connections = {}
        if None not in place[1:] and place[2] >= place[1]:
            raise ConfigError(
                f"distributed: this is process {place[2]} of {place[1]}; they are numbered from 0"
            )
        if None not in place and place[1] > 1:
            connections = meet(Seat(*place), config.join_timeout)
        _initialize(config, settings)
    except (RuntimeError, TypeError, OSError) as error:
        raise _unjoined(error) from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise _unjoined(error) from error
    return connections


def _detected(settings: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    """The settings, with those that `jax.distributed.initialize` would find out itself.

    JAX has no public function for it.
    """
    arguments = (*settings.values(), None, seconds)
    try:
        from jax._src.clusters import ClusterEnv

        detect = ClusterEnv.auto_detect_unset_distributed_params
        inspect.signature(detect).bind(*arguments)
    except (ImportError, AttributeError, TypeError) as error:
        if None in tuple(settings.values())[:3]:
            raise ConfigError(
                f"distributed: jax {jax.__version__} can't be asked which cluster this is; give "
                "distributed.coordinator=HOST:PORT, distributed.processes and distributed.process, "
                "or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
            ) from error
        return dict(settings)
    return dict(zip(settings, detect(*arguments), strict=True))


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


def _address(variable: str) -> str | None:
    text = os.environ.get(variable)
    if text:
        check_coordinator(text, variable)
    return text


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
