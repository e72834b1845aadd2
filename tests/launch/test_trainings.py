"""Trainings of two processes, started by the launch scripts: the run that one process makes."""

import json
import pathlib
import sys

import numpy as np
import pytest

from tests.launch.conftest import ROOT
from tests.oracles import tiny_run

pytestmark = pytest.mark.slow

SCRIPTS = {
    "tpu_pod.sh": {"TPU": "pod", "ZONE": "zone", "ACCELERATOR": "v5p-16"},
    "slurm.sbatch": {},
    "gke_jobset.sh": {
        **{"KIND": "gpu", "IMAGE": "an/image", "BUCKET": "b", "HOSTS": "2", "CHIPS": "1"},
        "ACCELERATOR": "a",
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("launched")
    tiny_run.write(path)
    return path


def losses(workdir):
    """Losses and multipliers of all steps, by name."""
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    named = [(key, row[key]) for row in rows for key in row if "loss" in key or "lambda" in key]
    return [key for key, _ in named], [value for _, value in named]


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_started_processes_train_as_one_does(machine, root, script):
    flags = [
        "--config=lagdpo",
        f"--config.model.path={root / 'model'}",
        f"--config.data.train={root / 'train.jsonl'}",
        f"--config.data.test={root / 'test.jsonl'}",
        *("--config.data.row_length=80", "--config.batch_size=3", "--config.epochs=1"),
    ]
    bare = {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    (machine.home / "worker").write_text(f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    settings = {**SCRIPTS[script], **bare, "VENV": sys.prefix}
    settings |= {"SLURM_SUBMIT_DIR": str(machine.home / "checkout")}
    workdir = machine.home / "run"
    status, output, errors = machine.run(script, *flags, f"--config.workdir={workdir}", **settings)
    assert status == 0, output[-2000:] + errors[-2000:]
    alone = machine.home / "alone"
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", **bare}
    node = machine.run("gpu_node.sh", *flags, f"--config.workdir={alone}", **two)
    assert node[0] == 0, node[2][-2000:]
    # Sums over two processes are in another order than over two devices of one.
    (names, found), (expected_names, expected) = losses(workdir), losses(alone)
    assert names == expected_names and len(names) > 20
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
