"""The command line of training in a process of its own, on what `tiny_run.write` wrote."""

import json
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[2]
# Steps take some 20 ms; the rest of a process's life is imports and compilation.
STEPS = 24
# As the modules of wiring are compiled: for processes whose numbers are not looked at.
WIRING = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}


def start(root, workdir, *flags, variables=None, **options):
    """A started process; its output is one stream of text.

    `variables` are more of its environment.
    """
    command = [
        *(sys.executable, "-m", "dignified_jax.train", "--config=configs/lagdpo.py"),
        f"--config.workdir={workdir}",
        f"--config.model.path={root / 'model'}",
        f"--config.data.train={root / 'train.jsonl'}",
        f"--config.data.test={root / 'test.jsonl'}",
        *("--config.data.row_length=80", "--config.data.validation_fraction=0.2"),
        "--config.model.remat=none",
        *("--config.batch_size=3", "--config.epochs=8"),
        *("--config.eval_every=3", "--config.checkpoint_every=3"),
        *flags,
    ]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "JAX_PLATFORMS": "cpu",
        "HF_HUB_OFFLINE": "1",
        "JAX_COMPILATION_CACHE_DIR": os.environ["DIGNIFIED_COMMAND_CACHE"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **(variables or {}),
    }
    return subprocess.Popen(
        options.pop("wrapper", []) + command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(process):
    """(exit status, output)."""
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def lines(workdir):
    """Number of whole lines in metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


# What depends on the clock.
TIMES = ("seconds", "tokens_per_second", "mfu")


def logged(workdir):
    """The records of metrics.jsonl without what depends on the clock."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def assert_equal(run, other):
    """The same log, export, and summary, bit for bit."""
    assert logged(run) == logged(other)
    weights = "export/model.safetensors"
    assert (run / weights).read_bytes() == (other / weights).read_bytes()
    assert (run / "summary.json").read_text() == (other / "summary.json").read_text()
