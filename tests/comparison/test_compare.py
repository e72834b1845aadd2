"""The command line of comparisons, in processes of its own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dignified_jax.comparison import report
from tests.oracles import command, tiny_run

pytestmark = pytest.mark.wiring


def start(workdir, *flags, root=None):
    """A started process on what `tiny_run.write` wrote, or on the embedded files."""
    arguments = [
        *(sys.executable, "-m", "dignified_jax.compare", "--config=configs/compare.py"),
        f"--config.workdir={workdir}",
    ]
    if root is not None:
        arguments += [
            f"--config.base.model.path={root / 'model'}",
            f"--config.base.data.train={root / 'train.jsonl'}",
            f"--config.base.data.test={root / 'test.jsonl'}",
            *("--config.base.data.row_length=80", "--config.base.data.validation_fraction=0.2"),
            *("--config.base.batch_size=3", "--config.base.epochs=2", "--config.base.eval_every=2"),
            "--config.base.optimizer.learning_rate=3e-4",
        ]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(command.REPOSITORY),
        "JAX_PLATFORMS": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    if root is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = os.environ["DIGNIFIED_COMMAND_CACHE"]
    return subprocess.Popen(
        [*arguments, *flags],
        cwd=command.REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_wrong_field_is_one_line_and_nothing_is_written(tmp_path):
    status, said = command.finish(start(tmp_path / "w", "--config.base.optimizer.rate=1"))
    assert status == 1
    assert said.startswith("error: unknown config key base.optimizer.rate; known: ")
    assert said.endswith("did you mean base.optimizer.learning_rate?\n")
    assert said.count("\n") == 1
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_reports(tmp_path):
    """Two methods, one of them of four stages, with two seeds; killed after the first run."""
    root, workdir = tmp_path / "source", tmp_path / "work"
    root.mkdir()
    tiny_run.write(root)
    flags = ("--config.methods=('lagdpo', 'soup')", "--config.seeds=(0, 1)")
    first = workdir / "runs" / "lagdpo" / "seed_0"
    process = start(workdir, *flags, root=root)
    stages = workdir / "runs" / "soup" / "seed_0" / "stages"
    while process.poll() is None and not stages.is_dir():
        time.sleep(0.1)
    process.kill()
    status, said = command.finish(process)
    assert status == -signal.SIGKILL, said
    before = (first / "summary.json").stat().st_mtime_ns

    status, said = command.finish(start(workdir, *flags, root=root))
    assert status == 0, said
    assert "[1/4] lagdpo seed 0: trained before" in said
    assert "[4/4] soup seed 1: trained in" in said
    assert (first / "summary.json").stat().st_mtime_ns == before

    folder = workdir / report.REPORT_DIRECTORY
    names = ["convergence.png", "pareto.png", "radar.png", "report.md", "results.json"]
    assert sorted(file.name for file in folder.iterdir()) == [*names, "runs.csv", "summary.csv"]
    rows = list(csv.DictReader((folder / "runs.csv").open()))
    assert [(row["method"], row["seed"]) for row in rows] == [
        *(("lagdpo", "0"), ("soup", "0"), ("lagdpo", "1"), ("soup", "1"))
    ]
    for row in rows:
        run = workdir / "runs" / row["method"] / f"seed_{row['seed']}"
        # Lag-DPO's own losses, and those by which a soup is tested, are DPO's at the same beta.
        own = json.loads((run / "summary.json").read_text())["dimensions"]
        for dimension, figures in own.items():
            assert float(row[f"loss/{dimension}"]) == pytest.approx(figures["loss"], rel=1e-4)
        assert float(row["kl"]) > 1e-4
    again = command.finish(start(workdir, *flags, root=root))
    assert again[0] == 0 and "trained in" not in again[1]
