"""The documentation's commands for clusters, run as they are written, on stubs of the clusters."""

import shlex
import subprocess

import pytest

from tests.docs import blocks

COMMANDS = [
    (block.where, block.text.strip())
    for page in ("README.md", "docs/launching.md")
    for block in blocks.read(page)
    if block.language == "bash" and "launch/" in block.text and "--dry-run" not in block.text
]


def test_there_are_commands_for_every_place():
    text = "\n".join(command for _, command in COMMANDS)
    for script in ("gpu_node.sh", "slurm.sbatch", "tpu_pod.sh", "gke_jobset.sh"):
        assert f"launch/{script}" in text


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=[where for where, _ in COMMANDS])
def test_it_starts_a_training_on_every_host(machine, where, command):
    (machine.home / "bin" / "python").symlink_to(machine.home / "worker")
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=machine.home / "checkout",
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    words = shlex.split(command)
    flags = " ".join(word for word in words if word.startswith("--config"))
    said = [line for line in done.stdout.splitlines() if "-m dignified_jax.train" in line]
    assert said and all(flags in line for line in said), done.stdout
    shown = {line.partition(":")[0] for line in said}
    if "slurm" in command:
        assert shown == {"process 0", "process 1"}
        assert machine.calls()[0][0] == "sbatch"
    elif "jobset" in command:  # one pod's log is followed
        assert machine.calls()[0][0] == "kubectl" and "apply" in machine.calls()[0]
    elif "tpu_pod" in command:
        assert machine.calls()[0][0] == "gcloud"
