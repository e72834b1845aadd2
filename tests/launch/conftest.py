"""A machine with the stubs of tests/launch/stub.py in its path, and runs of the scripts on it."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
STUB = pathlib.Path(__file__).with_name("stub.py")

# What a host has for Python: says its place and arguments, and ends as it is told.
_WORKER = """#!/usr/bin/env bash
trap 'echo saved; exit 143' TERM
echo "process ${JAX_PROCESS_ID:-$SLURM_PROCID}: $*"
[ -z "$WORKER_SECONDS" ] || { sleep "$WORKER_SECONDS" & wait $!; }
exit "${WORKER_STATUS:-0}"
"""


@dataclasses.dataclass
class Machine:
    """Where the scripts run: its directory, and the environment they find."""

    home: pathlib.Path
    environment: dict[str, str]

    def start(self, script, *arguments, **settings):
        """The process of a script, in a checkout of its own."""
        return subprocess.Popen(
            ["bash", f"launch/{script}", *arguments],
            cwd=self.home / "checkout",
            env={**self.environment, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
            process_group=0,  # for a Ctrl-C to all of it
        )

    def run(self, script, *arguments, **settings):
        """(status, output, errors) of a script."""
        process = self.start(script, *arguments, **settings)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    def calls(self):
        """What the stubs were asked, in order."""
        path = self.home / "calls.jsonl"
        return [json.loads(line) for line in path.open()] if path.exists() else []


def _heed_ctrl_c():
    # A shell that starts the tests in the background has children ignore it, for ever.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def machine(tmp_path):
    for directory, names in {
        "bin": ("gcloud", "sbatch", "srun", "scontrol", "kubectl"),
        "hosts_bin": ("python3",),
    }.items():
        (tmp_path / directory).mkdir()
        for name in names:
            program = tmp_path / directory / name
            program.write_text(f"#!{sys.executable}\n" + STUB.read_text(encoding="utf-8"))
            program.chmod(0o755)
    worker = tmp_path / "worker"
    worker.write_text(_WORKER)
    worker.chmod(0o755)
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "launch", checkout / "launch")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "launch"],
    ):
        subprocess.run(["git", *command], cwd=checkout, check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment = {
        **kept,
        "PATH": f"{tmp_path / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "STUB_HOME": str(tmp_path),
        "STUB_PYTHON": str(worker),
        "STUB_PORT": str(port),
        "POLL_SECONDS": "0.05",
    }
    return Machine(tmp_path, environment)
