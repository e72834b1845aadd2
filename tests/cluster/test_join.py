"""Settings of several processes, and how they are joined."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dignified_jax.cluster import join, meeting
from dignified_jax.cluster.settings import DistributedConfig, upgraded
from dignified_jax.typed_config import ConfigError


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
    assert join.local_devices(environment) == devices


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinator": "host"}, r"distributed\.coordinator must be HOST:PORT, found 'host'"),
        ({"coordinator": "host:70000"}, r"distributed\.coordinator must be .*70000'; .* 65535"),
        ({"processes": 0}, r"distributed\.processes must be .* found 0"),
        ({"timeout": 0}, r"distributed\.timeout must be at least 1, found 0"),
        (
            {"processes": 2, "process": 2},
            r"distributed\.process must be less than .*\(2\), found 2",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        DistributedConfig(**fields)


def test_what_jax_refuses_is_told_with_the_fields_to_set(monkeypatch):
    def refuse(**settings):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(join.jax.distributed, "initialize", refuse)
    with pytest.raises(ConfigError, match=r"can't be joined: .*distributed\.coordinator=HOST:PORT"):
        join.start(DistributedConfig())
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ConfigError, match="JAX_NUM_PROCESSES must be a whole number, found 'two'"):
        join.start(DistributedConfig())


@pytest.mark.parametrize(
    ("given", "joins"),
    [({}, False), ({"timeout": 60}, False), ({"enabled": True}, True), ({"process": 0}, True)],
    ids=str,
)
def test_one_that_is_told_its_place_has_others(given, joins):
    assert DistributedConfig(**given).joins == joins


def test_what_earlier_versions_wrote_is_read():
    former = {"seed": 1, "distributed": True, "cluster": {"process": 1, "processes": 2}}
    section = {"enabled": True, "process": 1, "processes": 2}
    assert upgraded(former) == {"seed": 1, "distributed": section}
    assert upgraded({"distributed": section}) == {"distributed": section}
    assert upgraded({"seed": 1}) == {"seed": 1}
    with pytest.raises(ConfigError, match="cluster must be a section of fields, found 3"):
        upgraded({"cluster": 3})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"COORDINATOR_ADDRESS": "host"},
            "^JAX_COORDINATOR_ADDRESS must be HOST:PORT, found 'host'",
        ),
        ({"COORDINATOR_ADDRESS": "host:99999"}, "^JAX_COORDINATOR_ADDRESS must be .* 'host:99999'"),
        ({"NUM_PROCESSES": "2", "PROCESS_ID": "2"}, "^distributed: this is process 2 of 2; they a"),
    ],
    ids=str,
)
def test_an_environment_that_makes_no_sense_is_refused(variables, message, monkeypatch):
    usual = {"COORDINATOR_ADDRESS": "127.0.0.1:1", "NUM_PROCESSES": "2", "PROCESS_ID": "0"}
    for name, value in {**usual, **variables}.items():
        monkeypatch.setenv(f"JAX_{name}", value)
    with pytest.raises(ConfigError, match=message):
        join.start(DistributedConfig(join_timeout=1))


@pytest.fixture
def coordinator():
    """HOST:PORT that nobody listens at."""
    with meeting.listening(0) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_first_process_that_never_comes_up_is_named(coordinator):
    """Told before JAX would abort."""
    config = DistributedConfig(coordinator=coordinator, processes=2, process=1, join_timeout=1)
    with pytest.raises(ConfigError, match=rf"process 1 on .* waited for 1 s .* {coordinator}"):
        join.start(config)


def meet(coordinator, places, seconds=20.0):
    """What the processes say that are started at (count, index); "" for those that met all."""

    def one(place):
        try:
            met = meeting.meet(meeting.Seat(coordinator, *place), seconds)
        except ConfigError as error:
            return str(error)
        for connection in met.values():
            connection.close()
        return ""

    with ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(one, places))


def test_all_meet_whoever_comes_first(coordinator):
    assert meet(coordinator, [(3, 2), (3, 0), (3, 1)]) == ["", "", ""]
    assert meet(coordinator, [(3, 0), (3, 1), (3, 2)]) == ["", "", ""]  # the port is free again


def test_they_stay_connected_while_something_else_listens_at_the_port(coordinator):
    """As JAX's own service does, at once."""
    with ThreadPoolExecutor(3) as threads:
        first, *others = threads.map(
            lambda index: meeting.meet(meeting.Seat(coordinator, 3, index), 20.0), range(3)
        )
    assert sorted(first) == [1, 2] and [sorted(other) for other in others] == [[0], [0]]
    with meeting.listening(int(coordinator.split(":")[1])):
        for number, other in enumerate(others, 1):
            first[number].sendall(f"to {number}\n".encode())
            assert other[0].makefile("r").readline() == f"to {number}\n"
            other[0].sendall(f"from {number}\n".encode())
            assert first[number].makefile("r").readline() == f"from {number}\n"
    for connection in (*first.values(), *(other[0] for other in others)):
        connection.close()


def test_a_jax_that_cannot_be_asked_for_its_cluster_is_told_by_hand(monkeypatch, coordinator):
    """The one private function of JAX that is called may be another in its next version."""
    from jax._src import clusters

    def otherwise(coordinator_address, *, timeout):
        raise AssertionError

    asked = []
    monkeypatch.setattr(
        clusters.ClusterEnv, "auto_detect_unset_distributed_params", staticmethod(otherwise)
    )
    monkeypatch.setattr(join.jax.distributed, "initialize", lambda **given: asked.append(given))
    with pytest.raises(ConfigError, match=r"jax .* can't be asked .* give distributed.coordinator"):
        join.start(DistributedConfig(enabled=True))
    given = DistributedConfig(coordinator=coordinator, processes=1, process=0)
    assert join.start(given) == {}
    monkeypatch.delattr(clusters, "ClusterEnv")
    assert join.start(given) == {}
    assert [each["num_processes"] for each in asked] == [1, 1]
    assert asked[0]["coordinator_address"] == coordinator


def test_those_that_do_not_come_are_told_to_all_that_did(coordinator):
    said = meet(coordinator, [(4, 0), (4, 2)], seconds=1.0)
    assert said == ["distributed: no process 1, 3 of 4 after 1 s"] * 2


def test_one_that_is_started_twice_or_told_otherwise_is_named(coordinator):
    said = meet(coordinator, [(3, 0), (3, 1), (3, 1)])
    assert len({*said}) == 1 and "process 1 is started twice, on " in said[0]
    said = meet(coordinator, [(2, 0), (3, 1)])
    assert len({*said}) == 1 and "process 1 on " in said[0]
    assert "is told that there are 3 processes, and process 0 that there are 2" in said[0]


def test_a_stranger_and_one_that_was_started_again_do_no_harm(coordinator):
    """A line that is no greeting, and a process that went away after it had come."""
    host, port = coordinator.split(":")

    def others():
        while True:
            try:
                stranger = socket.create_connection((host, int(port)))
                break
            except OSError:
                time.sleep(0.05)
        stranger.sendall(b"GET / HTTP/1.1\n")
        with socket.create_connection((host, int(port))) as gone:
            gone.sendall(b'{"process": 1, "processes": 3, "host": "a"}\n')
            time.sleep(0.2)
        with stranger:
            return meet(coordinator, [(3, 1), (3, 2)])

    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(others)
        assert meet(coordinator, [(3, 0)]) == [""]
        assert rest.result() == ["", ""]


def test_one_that_came_and_went_is_missing():
    with meeting.listening(0) as server:
        address = ("localhost", server.getsockname()[1])
        here, gone = (socket.create_connection(address) for _ in range(2))
        came = {number: ("a", server.accept()[0]) for number in (1, 2)}
        assert meeting._still_missing(came, 4) == [3]
        gone.close()
        came[2][1].settimeout(10)
        assert came[2][1].recv(1, socket.MSG_PEEK) == b""  # the end has arrived
        assert meeting._still_missing(came, 4) == [2, 3] and list(came) == [1]
        here.close()


def test_a_port_that_is_taken_is_told(coordinator):
    with meeting.listening(int(coordinator.split(":")[1])):
        (said,) = meet(coordinator, [(2, 0)])
    assert "process 0 can't listen at port" in said
