"""Settings of several processes, and the wire that tells one end to the others."""

import contextlib
import json
import os
import socket
import threading

import pytest

from dignified_jax.training.config import ClusterConfig, ConfigError
from dignified_jax.training.run import processes


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({}, None),
        # `srun` with one task a node, as in launch/slurm.sbatch: all GPUs, where JAX takes one.
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_GPUS_ON_NODE": "8"}, list(range(8))),
        ({"SLURM_TASKS_PER_NODE": "1,1", "CUDA_VISIBLE_DEVICES": "2,3,5"}, [0, 1, 2]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, None),  # no GPUs
        # One task a GPU: as JAX has it.
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_GPUS_ON_NODE": "8"}, None),
        (
            {
                "SLURM_STEP_TASKS_PER_NODE": "1",
                "SLURM_GPUS_ON_NODE": "8",
                "JAX_LOCAL_DEVICE_IDS": "0,1",
            },
            None,
        ),
    ],
    ids=str,
)
def test_all_gpus_of_a_node_belong_to_its_one_task(environment, devices):
    assert processes.local_devices(environment) == devices


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator": "host"}, r"cluster\.coordinator must be HOST:PORT, found 'host'"),
        ({"processes": 0}, r"cluster\.processes must be .* found 0"),
        ({"processes": 2, "process": 2}, r"cluster\.process must be less than .*\(2\), found 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        ClusterConfig(**fields)


def test_what_jax_refuses_is_told_with_the_fields_to_set(monkeypatch):
    def refuse(**settings):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(processes.jax.distributed, "initialize", refuse)
    with pytest.raises(ConfigError, match=r"can't be joined: .*cluster\.coordinator=HOST:PORT"):
        processes.start(ClusterConfig())
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ConfigError, match="JAX_NUM_PROCESSES must be a whole number, found 'two'"):
        processes.start(ClusterConfig())


SOCKETS = []


class Ended(Exception):
    """Instead of the end of this process."""


@pytest.fixture
def ends(monkeypatch):
    """What a listening thread would have printed, and that it would have ended the process."""
    said, event = [], threading.Event()
    others = set(threading.enumerate())
    monkeypatch.setattr(processes.os, "write", lambda number, text: said.append(text.decode()))

    def end(status):
        event.set()
        raise Ended

    monkeypatch.setattr(processes.os, "_exit", end)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)

    def wait():
        assert event.wait(10)
        return said

    yield wait
    while SOCKETS:  # what a thread listens to ends, and so does the thread
        with contextlib.suppress(OSError):
            SOCKETS.pop().shutdown(socket.SHUT_RDWR)
    for thread in set(threading.enumerate()) - others:
        thread.join(5)
    monkeypatch.undo()
    assert os._exit is not end


def pair():
    one, other = socket.socketpair(socket.AF_UNIX)
    SOCKETS.extend((one, other))
    return one.makefile("rw", encoding="utf-8"), other.makefile("rw", encoding="utf-8"), one, other


def test_a_lost_process_is_named_and_passed_on(ends):
    wire = processes._Wire()
    stream, far, *sockets = pair()
    third, fourth, *more = pair()
    wire.add(2, third)
    wire.add(1, stream)
    far.close()
    sockets[1].close()
    (line,) = ends()
    assert line.startswith("error: process 1 was lost (killed, ")
    assert "the same command goes on from the last checkpoint" in line
    assert json.loads(fourth.readline())["process"] == 1
    assert len(more) == 2


def test_a_failure_is_told_with_its_reason(ends):
    wire = processes._Wire()
    stream, far, *sockets = pair()
    wire.add(1, stream)
    far.write(json.dumps({"process": 1, "reason": "no such file"}) + "\n")
    far.flush()
    assert ends() == ["error: process 1: no such file\n"]
    assert len(sockets) == 2


def test_an_end_without_a_failure_ends_no_other(ends):
    wire = processes._Wire()
    stream, far, *sockets = pair()
    wire.add(1, stream)
    far.write(json.dumps({"process": 1, "reason": None}) + "\n")
    far.flush()
    for _ in range(100):
        if not wire._streams:
            break
        threading.Event().wait(0.05)
    assert wire._streams == {}
    assert len(sockets) == 2
