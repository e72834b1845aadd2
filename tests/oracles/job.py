"""Jobs of several processes on loopback, with two CPU devices each."""

import os
import socket
import subprocess
import sys

from tests.oracles.command import REPOSITORY, finish

DEVICES = 2


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(
    count,
    module,
    *flags,
    devices=DEVICES,
    place=None,
    own=(),
    timeout=20,
    cwd=None,
    repository=REPOSITORY,
    absent=(),
):
    """The processes of a job, started.

    `place` has those of `own` (numbers) hang before it: (place, seconds); `repository` is theirs.
    Those that are `absent` are not started. `flags` may be a function of the process's number.
    """
    port = free_port()
    return [
        _start(
            *(module, port, count, index, devices, place if index in own else None, timeout, cwd),
            repository if index in own else REPOSITORY,
        )(*(flags[0](index) if flags and callable(flags[0]) else flags))
        for index in range(count)
        if index not in absent
    ]


def _start(module, port, count, index, devices, place, timeout, cwd, repository):
    prefix = "--config.distributed." if module not in ("generate", "analyze") else "--"
    joined = [
        f"{prefix}coordinator=127.0.0.1:{port}",
        f"{prefix}processes={count}",
        f"{prefix}process={index}",
        f"{prefix}{'process_' if prefix == '--' else ''}timeout={timeout}",
    ]
    worker = str(REPOSITORY / "tests" / "oracles" / "faulty_worker.py")
    run = [worker, place[0], str(place[1]), module] if place else ["-m", f"dignified_jax.{module}"]

    def begin(*flags):
        # A command with parts has the name of one first.
        ordered = [*flags[:1], *joined, *flags[1:]] if module == "analyze" else [*flags, *joined]
        return subprocess.Popen(
            [sys.executable, *run, *(ordered if count > 1 else flags)],
            cwd=cwd or repository,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "PYTHONPATH": str(repository),
                "PYTHONUNBUFFERED": "1",
                "JAX_PLATFORMS": "cpu",
                "HF_HUB_OFFLINE": "1",
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                "JAX_COMPILATION_CACHE_DIR": os.environ["DIGNIFIED_COMMAND_CACHE"],
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return begin


def end(processes):
    """(exit status, output) of each."""
    return [finish(process) for process in processes]


def kill(processes):
    """Ends what is left of a job."""
    for process in processes:
        process.kill()
        process.stdout.close()
        process.wait()
