"""Settings of several processes, and how they are joined."""

import pytest

from dignified_jax.cluster import join
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


def test_a_first_process_that_never_comes_up_is_named():
    """Told before JAX would abort; nobody listens at a port that was just given back."""
    with join.socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = DistributedConfig(
        coordinator=f"127.0.0.1:{port}", processes=2, process=1, join_timeout=1
    )
    with pytest.raises(ConfigError, match=rf"process 1 on .* waited for 1 s .* 127.0.0.1:{port}"):
        join.start(config)
