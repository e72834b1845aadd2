"""Installed from a wheel, every command works in any directory, without the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import dignified_jax

ROOT = pathlib.Path(dignified_jax.__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory that holds the package as pip installs it; its dependencies are those here."""
    root = tmp_path_factory.mktemp("installed")
    source = root / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("dignified_jax", "configs"):  # without what an earlier build left beside them
        shutil.copytree(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", root / "site", source], check=True)
    shutil.rmtree(source)
    return root / "site"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--help"], "optimizer.learning_rate"),
        (["train", "--config=lagdpo", "--print_config"], "path: embedded:tiny-qwen3"),
        (["train", "--config=lagdpo:qwen3-4b", "--print_config"], "path: Qwen/Qwen3-4B"),
        (["train", "--config=lagdpo", "--plan", "--plan_devices=1xh200"], "fits"),
        (["train", "--config=sft", "--config.max_steps=1", "--config.workdir=run"], "export"),
        (["compare", "--config=compare", "--print_config"], "lagdpo"),
        (["convert", "to-orbax", "--hf=embedded:tiny-qwen3", "--out=bare"], "written: bare"),
        (["data", "stats", "embedded:personaknob_mini/train.jsonl"], "156"),
        (["mfrm", "embedded:ratings.csv"], "amber-judge"),
    ],
    ids=lambda value: "_".join(value[:2]) if isinstance(value, list) else None,
)
def test_it_runs_anywhere(arguments, expected, installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", f"dignified_jax.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout + done.stderr


@pytest.mark.slow
def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    code = "import dignified_jax.configs.lagdpo as c; print(c.__file__, c.get_config().workdir)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed))
