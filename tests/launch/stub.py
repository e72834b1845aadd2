"""Stands for gcloud, sbatch, srun, scontrol and kubectl.

It records what it is asked, and starts processes here. It is called by the name of the program that
it stands for. STUB_HOME holds `calls.jsonl`, a line a call, and a directory for each host;
STUB_PYTHON is what the hosts have for Python.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HOSTS = 2
HOME = pathlib.Path(os.environ["STUB_HOME"])
ARGUMENTS = sys.argv[1:]
PORT = os.environ.get("STUB_PORT", "12345")


def option(name, default=None):
    """Value of `--name=value` or of `--name value`."""
    for place, argument in enumerate(ARGUMENTS):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name:
            return ARGUMENTS[place + 1]
    return default


def environment(index):
    """What a host's process finds, with the place among the others as JAX_… variables."""
    place = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{PORT}",
        "JAX_NUM_PROCESSES": str(HOSTS),
        "JAX_PROCESS_ID": str(index),
    }
    return {**os.environ, **place, "PATH": f"{HOME / 'hosts_bin'}:{os.environ['PATH']}"}


def gcloud():
    """Queued resources that are granted at the second look, and hosts that are directories."""
    slice_file, group, verb = HOME / "slice", *ARGUMENTS[2:4]
    if group == "queued-resources":
        if verb == "create":
            slice_file.write_text("WAITING_FOR_RESOURCES")
        elif verb == "delete":
            slice_file.unlink()
        elif verb == "describe":
            print(slice_file.read_text())
            slice_file.write_text(os.environ.get("STUB_STATE", "ACTIVE"))
        return 0
    if verb == "describe":
        return 0 if slice_file.exists() and slice_file.read_text() == "ACTIVE" else 1
    if verb == "scp":
        for index in range(HOSTS):
            (HOME / f"host{index}").mkdir(exist_ok=True)
            shutil.copy(ARGUMENTS[4], HOME / f"host{index}" / ARGUMENTS[5].partition(":")[2])
        return 0
    worker = option("--worker")
    broken = HOME / "break_once"
    if worker == "0" and broken.exists():
        broken.unlink()
        return 255
    chosen = range(HOSTS) if worker == "all" else [int(worker)]
    running = [
        subprocess.Popen(
            ["bash", "-c", option("--command")], cwd=HOME / f"host{index}", env=environment(index)
        )
        for index in chosen
    ]
    return max(process.wait() for process in running)


def sbatch():
    """The batch script on this machine, at once; options come before it, its arguments after."""
    place = next(n for n, word in enumerate(ARGUMENTS) if not word.startswith("-"))
    given = [word.partition("=") for word in (option("--export") or "").split(",")]
    environment = {
        **{name: value for name, _, value in given if value},
        **{"SLURM_SUBMIT_DIR": os.getcwd(), "SLURM_JOB_ID": str(int(PORT) + 4096)},
    }
    print(f"Submitted batch job {environment['SLURM_JOB_ID']}", flush=True)
    return subprocess.run(
        ["bash", *ARGUMENTS[place:]], env={**os.environ, **environment}
    ).returncode


def srun():
    """As many tasks as nodes, each with SLURM's variables."""
    command = [word for word in ARGUMENTS if not word.startswith("--kill-on-bad-exit")]
    shared = {
        "SLURM_JOB_ID": str(int(PORT) + 4096),  # JAX makes its port of it
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": str(HOSTS),
        "SLURM_NTASKS": str(HOSTS),
        "SLURM_STEP_TASKS_PER_NODE": "1",
    }
    running = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "SLURM_PROCID": str(index), "SLURM_LOCALID": "0"},
        )
        for index in range(HOSTS)
    ]
    signal.signal(signal.SIGTERM, lambda *_: [process.terminate() for process in running])
    return max(process.wait() for process in running)


def kubectl():
    """A JobSet whose pods are processes; the first one's output is its log."""
    log = HOME / "pod0.log"
    if ARGUMENTS[0] == "apply":
        (HOME / "manifest.yaml").write_text(sys.stdin.read())
        return 0
    if ARGUMENTS[0] == "logs":
        pods = [subprocess.Popen(*pod(index)) for index in range(HOSTS)]
        failed = max(process.wait() for process in pods)
        log.write_text("Failed" if failed else "Completed")
    elif ARGUMENTS[:2] == ["get", "pod"]:
        print("Running", end="")
    elif ARGUMENTS[:2] == ["get", "jobset"]:
        print(log.read_text() if log.exists() else "", end="")
    return 0


def pod(index):
    """(words, buffer size, program) of a pod's process: what `subprocess.Popen` takes first."""
    import yaml

    manifest = yaml.safe_load((HOME / "manifest.yaml").read_text())
    spec = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    settings = [f"JAX_PROCESS_ID={index}"]
    for variable in container.get("env", []):
        value = variable.get("value")
        if variable["name"] == "JAX_COORDINATOR_ADDRESS":
            value = f"127.0.0.1:{PORT}"
        if value is not None and not variable["name"].startswith("XLA"):
            settings.append(f"{variable['name']}={value}")
    python = os.environ["STUB_PYTHON"]
    return [["env", *settings, python, *container["command"][1:], *container["args"]]]


def python3():
    """A host's own Python: `-m uv venv` makes an environment whose Python is STUB_PYTHON."""
    if "venv" in ARGUMENTS:
        target = pathlib.Path(ARGUMENTS[-1]) / "bin"
        target.mkdir(parents=True, exist_ok=True)
        (target / "python").unlink(missing_ok=True)
        (target / "python").symlink_to(os.environ["STUB_PYTHON"])
    return 0


name = pathlib.Path(sys.argv[0]).name
with open(HOME / "calls.jsonl", "a", encoding="utf-8") as calls:
    calls.write(json.dumps([name, *ARGUMENTS]) + "\n")
handlers = {each.__name__: each for each in (gcloud, sbatch, srun, kubectl, python3)}
sys.exit(handlers.get(name, lambda: 0)())
