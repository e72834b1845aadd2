"""Every launch script: what it would run, and what its hosts are really told to run."""

import json
import os
import re
import shlex
import signal
import subprocess
import time

import pytest
import yaml

from tests.launch.conftest import ROOT

SCRIPTS = ["gpu_node.sh", "slurm.sbatch", "tpu_pod.sh", "gke_jobset.sh"]
FLAGS = ("--config=lagdpo", "--config.workdir=/runs/the first")
SLICE = {"TPU": "pod", "ZONE": "zone", "ACCELERATOR": "v5p-16"}
JOBSET = {"IMAGE": "an/image", "BUCKET": "b", "HOSTS": "2", "CHIPS": "4", "ACCELERATOR": "a"}


@pytest.mark.parametrize("script", [*SCRIPTS, "common.sh"])
def test_shellcheck_finds_nothing(script):
    command = ["shellcheck", "-x", "-s", "bash", f"launch/{script}"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def words(text):
    """Words of the last line, as a shell reads them."""
    return shlex.split(text.splitlines()[-1])


def test_a_dry_run_prints_the_commands_and_runs_none(machine):
    status, output, _ = machine.run("gpu_node.sh", "--dry-run", *FLAGS, GPUS="2", XLA_FLAGS="--a")
    assert status == 0
    assert words(output) == [
        *("env", "CUDA_VISIBLE_DEVICES=0,1", "XLA_CLIENT_MEM_FRACTION=0.94"),
        "XLA_FLAGS=--a --xla_gpu_enable_latency_hiding_scheduler=true",
        *("python", "-m", "dignified_jax.train", *FLAGS),
    ]
    status, output, _ = machine.run("slurm.sbatch", *FLAGS, DRY_RUN="1")
    assert words(output)[0] == "srun" and words(output)[-2:] == [*FLAGS]
    status, output, _ = machine.run("tpu_pod.sh", "--dry-run", *FLAGS, **SLICE, SPOT="1")
    lines = [shlex.split(line) for line in output.splitlines()]
    assert [line[3:5] for line in lines if line[0] == "gcloud"] == [
        *(["queued-resources", "create"], ["tpu-vm", "scp"]),
        *([["tpu-vm", "ssh"]] * 3),
        ["queued-resources", "delete"],
    ]
    assert "--spot" in lines[0] and "--runtime-version=v2-alpha-tpuv5" in lines[0]
    settings = {**JOBSET, "KIND": "gpu"}
    status, output, _ = machine.run("gke_jobset.sh", "--dry-run", *FLAGS, **settings)
    assert status == 0 and "kubectl apply -f -" in output.splitlines()
    assert machine.calls() == []


def test_a_slice_is_asked_for_used_and_given_back(machine):
    (machine.home / "break_once").touch()  # the connection, while the log is followed
    status, output, errors = machine.run("tpu_pod.sh", *FLAGS, **SLICE)
    assert status == 0, errors
    told = "process 0: -m dignified_jax.train --config=lagdpo --config.workdir=/runs/the first"
    assert f"{told} --config.distributed.enabled=True" in output
    assert "WAITING_FOR_RESOURCES" in errors and "trying again" in errors
    second = (machine.home / "host1/dignified_jax_run/run.log").read_text()
    assert second.startswith("process 1: ")
    assert (machine.home / "host1/dignified_jax_run/launch/tpu_pod.sh").exists()
    assert machine.calls()[-1][:5] == ["gcloud", *("compute", "tpus", "queued-resources", "delete")]
    assert not (machine.home / "slice").exists()


def test_a_run_that_fails_gives_its_status_and_the_slice_back(machine):
    status, _, _ = machine.run("tpu_pod.sh", *FLAGS, **SLICE, WORKER_STATUS="3")
    assert status == 3 and not (machine.home / "slice").exists()


def test_a_slice_that_was_there_stays(machine):
    (machine.home / "slice").write_text("ACTIVE")
    status, _, errors = machine.run("tpu_pod.sh", *FLAGS, **SLICE)
    assert status == 0, errors
    assert (machine.home / "slice").exists()
    assert not [call for call in machine.calls() if "queued-resources" in call]


def test_a_request_of_another_is_waited_for_and_stays(machine):
    """It may have waited for days: asking again is an error of gcloud's, which took it back."""
    (machine.home / "slice").write_text("WAITING_FOR_RESOURCES")
    status, _, errors = machine.run("tpu_pod.sh", *FLAGS, **SLICE)
    assert status == 0, errors
    assert (machine.home / "slice").read_text() == "ACTIVE"
    assert {call[4] for call in machine.calls() if "queued-resources" in call} == {"describe"}


def test_a_request_that_fails_is_taken_back(machine):
    status, _, errors = machine.run("tpu_pod.sh", *FLAGS, **SLICE, STUB_STATE="FAILED")
    assert status == 1 and "the request for pod is FAILED" in errors
    assert not (machine.home / "slice").exists()


def test_ctrl_c_saves_a_checkpoint_on_every_host_and_gives_the_slice_back(machine):
    process = machine.start("tpu_pod.sh", *FLAGS, **SLICE, WORKER_SECONDS="60")
    logs = [machine.home / f"host{index}/dignified_jax_run/run.log" for index in range(2)]

    def runs(log):
        return "process" in log.read_text() and log.with_name("run.pid").read_text().strip()

    until = time.monotonic() + 60
    while not all(log.exists() and log.with_name("run.pid").exists() and runs(log) for log in logs):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all at once
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert all(log.read_text().endswith("saved\n") for log in logs)
    assert not (machine.home / "slice").exists()


def test_slurm_starts_a_task_a_node_and_queues_again_after_a_checkpoint(machine):
    place = {"SLURM_SUBMIT_DIR": str(machine.home / "checkout"), "VENV": str(machine.home / "venv")}
    (machine.home / "venv/bin").mkdir(parents=True)
    (machine.home / "venv/bin/python").symlink_to(machine.home / "worker")
    status, output, errors = machine.run("slurm.sbatch", *FLAGS, **place)
    assert status == 0, errors
    told = "-m dignified_jax.train --config.distributed.enabled=True --config=lagdpo"
    assert sorted(line[: len(told) + 11] for line in output.splitlines()) == [
        f"process {index}: {told}" for index in range(2)
    ]
    ends = {**place, "WORKER_STATUS": "143", "SLURM_JOB_ID": "17"}
    assert machine.run("slurm.sbatch", *FLAGS, **ends)[0] == 143
    assert [call[0] for call in machine.calls()] == ["srun", "srun"]
    assert machine.run("slurm.sbatch", *FLAGS, **ends, REQUEUE="1")[0] == 143
    assert machine.calls()[-1] == ["scontrol", "requeue", "17"]


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_a_jobset_is_filled_in_and_followed_to_its_end(machine, kind):
    settings = {**JOBSET, "KIND": kind, "TOPOLOGY": "2x2x2", "NAME": "first", "QUEUE": "team"}
    status, output, errors = machine.run("gke_jobset.sh", *FLAGS, **settings)
    assert (status, errors) == (0, "first: Completed\n")
    assert "process 1: -m dignified_jax.train --config=lagdpo" in output
    manifest = yaml.safe_load((machine.home / "manifest.yaml").read_text())
    assert manifest["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (2, 2, "Indexed")
    container = job["template"]["spec"]["containers"][0]
    assert container["args"] == [*FLAGS, "--config.distributed.enabled=True"]
    assert container["resources"]["limits"] in ({"google.com/tpu": 4}, {"nvidia.com/gpu": 4})
    assert "${" not in json.dumps(manifest)
    status, _, _ = machine.run("gke_jobset.sh", *FLAGS, **settings, WORKER_STATUS="1")
    assert status == 1
    assert machine.run("gke_jobset.sh", "down", NAME="first")[0] == 0
    assert machine.calls()[-1] == ["kubectl", "delete", "jobset", "first"]


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "message"),
    [
        ("tpu_pod.sh", FLAGS, {"ZONE": "zone"}, "TPU: name of the TPU slice"),
        ("tpu_pod.sh", FLAGS, {**SLICE, "ACCELERATOR": "v9"}, "ACCELERATOR=v9: set RUNTIME"),
        ("tpu_pod.sh", ("launch",), SLICE, "expected up, install, run, .*found 'launch'"),
        ("gpu_node.sh", FLAGS, {"GPUS": "9"}, "GPUS must be 1 to 8, found 9"),
        ("gke_jobset.sh", FLAGS, {**JOBSET, "KIND": "cpu"}, "KIND must be tpu or gpu, found cpu"),
        ("gke_jobset.sh", FLAGS, {**JOBSET, "KIND": "tpu"}, "TOPOLOGY is not set"),
        ("gke_jobset.sh", FLAGS, {"NAME": "A B"}, "NAME must be a DNS label of at most 40"),
        ("slurm.sbatch", FLAGS, {}, "run it with sbatch from the repository"),
    ],
)
def test_what_is_missing_is_named(machine, script, arguments, settings, message):
    status, _, errors = machine.run(script, *arguments, **settings)
    assert status != 0
    assert re.search(message, errors), errors
    assert not [call for call in machine.calls() if "create" in call or "apply" in call]


def test_the_images_install_this_package():
    for kind in ("tpu", "gpu"):
        lines = (ROOT / f"launch/{kind}.Dockerfile").read_text(encoding="utf-8").splitlines()
        copied = [path for line in lines if line.startswith("COPY") for path in line.split()[1:-1]]
        assert all((ROOT / path).exists() for path in copied)
        assert {"setup.py", "dignified_jax", "configs", "README.md"} <= set(copied)
        assert f"RUN pip install '.[{kind},eval,gs,s3]'" in lines


def test_the_skypilot_task_starts_the_launch_script():
    task = yaml.safe_load((ROOT / "launch/sky.yaml").read_text(encoding="utf-8"))
    assert {"name", "resources", "num_nodes", "envs", "setup", "run"} <= set(task)
    subprocess.run(["bash", "-n"], input=task["setup"] + task["run"], text=True, check=True)
    assert "launch/gpu_node.sh $ARGUMENTS" in task["run"]


def test_a_jobset_that_is_not_there_is_told(machine, tmp_path):
    (tmp_path / "kubectl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    path = f"{tmp_path}:{machine.environment['PATH']}"
    status, _, errors = machine.run(
        "gke_jobset.sh", "logs", NAME="other", PATH=path, POLL_SECONDS="60"
    )
    assert status == 1 and "other: no such JobSet" in errors


@pytest.mark.parametrize("script", [*SCRIPTS, "common.sh"])
def test_scripts_use_nothing_that_macos_lacks(script):
    """Its bash is 3.2, and its tools are not GNU's; shellcheck knows neither."""
    text = re.sub(r"#.*", "", (ROOT / "launch" / script).read_text())
    lacking = (
        r"\$\{\w+@[A-Za-z]\}|\$\{\w+(,,|\^\^)|\b(mapfile|readarray)\b|declare -A|mktemp --|&>>"
    )
    assert re.findall(lacking, text) == []


def test_dry_runs_quote_for_a_shell():
    given = ["it's", "a b", "$x `y`", "", "line\nend", "x&y", "back\\slash"]
    command = 'source launch/common.sh --dry-run; run "${@:2}"'
    done = subprocess.run(
        ["bash", "-c", command, "bash", "--dry-run", *given],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
    )
    assert shlex.split(done.stdout) == given
