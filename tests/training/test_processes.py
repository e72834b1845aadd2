"""Two processes of two devices each equal one process of four."""

import json
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.oracles import command, tiny_run

REPOSITORY = pathlib.Path(__file__).parents[2]


def start(root, workdir, port, count, index, devices, *variant):
    worker = REPOSITORY / "tests" / "oracles" / "process_worker.py"
    arguments = [str(x) for x in (root, workdir, port, count, index, devices, *variant)]
    return subprocess.Popen(
        [sys.executable, str(worker), *arguments],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output[-4000:]


def logged(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("variant", [(1, "resident"), (2, "cached")], ids=str)
def test_two_processes_equal_one(variant, tmp_path):
    """With fsdp 2 or tensor 2, and the reference's log-probs read by one process for both."""
    tiny_run.write(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pair = [start(tmp_path, tmp_path / "two", port, 2, index, 2, *variant) for index in range(2)]
    finish(pair)
    finish([start(tmp_path, tmp_path / "one", port, 1, 0, 4, *variant)])

    one, two = logged(tmp_path / "one"), logged(tmp_path / "two")
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for key in left.keys() - {*command.TIMES}:
            np.testing.assert_allclose(left[key], right[key], rtol=1e-4, atol=1e-6, err_msg=key)
    left, right = (load_file(tmp_path / n / "export" / "model.safetensors") for n in ("one", "two"))
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-5)
