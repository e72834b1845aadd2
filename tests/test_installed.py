"""Installed from a wheel, every command works in any directory, without the checkout."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import dignified_jax
from tests.oracles.writer_server import WriterServer

pytestmark = pytest.mark.slow
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


def command(entry_point, *arguments):
    return [sys.executable, "-m", f"dignified_jax.{entry_point}", *arguments]


def environment(installed, **variables):
    bare = {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
    return {**os.environ, **bare, **variables}


def run(installed, directory, *words, **variables):
    """What a command says that ends well, in a directory outside the checkout."""
    done = subprocess.run(
        command(*words),
        cwd=directory,
        env=environment(installed, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


ENTRY_POINTS = {
    "train": "optimizer.learning_rate",
    "compare": "base.optimizer.learning_rate",
    "generate": "--max_new_tokens",
    "evaluate": "judging.judges",
    "analyze": "vectors",
    "construct": "verifier.model",
    "review": "invite",
    "convert": "to-orbax",
    "data": "stats",
    "mfrm": "--out",
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_entry_point_has_its_help(entry_point, installed, tmp_path):
    assert ENTRY_POINTS[entry_point] in run(installed, tmp_path, entry_point, "--help")


def test_these_are_all_entry_points():
    package = pathlib.Path(dignified_jax.__file__).parent
    files = [*package.glob("*.py"), *package.glob("*/__main__.py")]
    found = [file for file in files if 'if __name__ == "__main__":' in file.read_text("utf-8")]
    names = {f.parent.name if f.stem == "__main__" else f.stem for f in found}
    assert names == set(ENTRY_POINTS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--config=lagdpo", "--print_config"], "path: embedded:tiny-qwen3"),
        (["train", "--config=lagdpo:qwen3-4b", "--print_config"], "path: Qwen/Qwen3-4B"),
        (["train", "--config=lagdpo", "--plan", "--plan_devices=1xh200"], "fits"),
        (["train", "--config=lagdpo", "--config.max_steps=1"], "export"),
        (["train", "--config=sft", "--config.max_steps=1", "--config.workdir=run"], "export"),
        (["compare", "--config=compare", "--print_config"], "lagdpo"),
        (["evaluate", "--config=evaluate:ratings", "--config.ratings=ratings.csv"], "report:"),
        (["construct", "--config=construct:paper", "--print_config"], "rows: 1700"),
        (["convert", "to-orbax", "--hf=embedded:tiny-qwen3", "--out=bare"], "written: bare"),
        (["data", "stats", "embedded:personaknob_mini/train.jsonl"], "156"),
        (["mfrm", "embedded:ratings.csv"], "amber-judge"),
    ],
    ids=lambda value: "_".join(value[:2]) if isinstance(value, list) else None,
)
def test_it_runs_anywhere(arguments, expected, installed, tmp_path):
    shutil.copyfile(ROOT / "dignified_jax" / "embedded" / "ratings.csv", tmp_path / "ratings.csv")
    assert expected in run(installed, tmp_path, *arguments)


def test_the_way_from_the_embedded_rows_to_a_report(installed, tmp_path):
    """The default configurations as they are, and what else needs a file of the package."""
    assert "report: " in run(installed, tmp_path, "evaluate", "--config=evaluate")
    report = (tmp_path / "runs" / "evaluate-tiny" / "report" / "index.html").read_text("utf-8")
    assert "<style>" in report and "<script" in report
    (tmp_path / "prompts.jsonl").write_text('{"id": 1, "prompt": "Should I sell my car?"}')
    model = ("--model", "embedded:tiny-qwen3", "--max_new_tokens", "4")
    files = ("--prompts", "prompts.jsonl", "--out", "responses.jsonl")
    assert "1 of 1" in run(installed, tmp_path, "generate", *model, *files, "--system", "E")
    run(installed, tmp_path, "analyze", "vectors", *model, "--workdir", "vectors")
    assert list((tmp_path / "vectors").iterdir())


def test_rows_are_made_by_the_default_configuration(installed, tmp_path):
    server = WriterServer()
    try:
        local = {"LOCAL_BASE_URL": server.url, "LOCAL_API_KEY": "none"}
        words = ("construct", "--config=construct", "--config.rows=2")
        run(installed, tmp_path, *words, **local)
    finally:
        server.shutdown()
        server.server_close()
    file = tmp_path / "runs" / "construct-local" / "rows.jsonl"
    assert len(file.read_text("utf-8").splitlines()) == 2


OBJECTIVE = '''
import dataclasses
from dignified_jax.objectives import Objective, dpo, register

@register
@dataclasses.dataclass(frozen=True)
class Flat(Objective):
    """Nothing but margins."""

    name = "flat"

    def loss(self, batch, counts, state):
        losses = -dpo.margins(batch.log_ratios, 1.0).sum(axis=0)
        return losses.mean(), losses
'''


def test_an_objective_put_into_the_package_is_found(installed, tmp_path):
    file = installed / "dignified_jax" / "objectives" / "flat.py"
    file.write_text(OBJECTIVE)
    try:
        assert "flat            Nothing but margins." in run(installed, tmp_path, "train", "--help")
    finally:
        file.unlink()


def test_a_review_is_served(installed, tmp_path):
    """Its page, style and scripts are files of the package."""
    run(installed, tmp_path, "review", "r.db", "init", "embedded:personaknob_mini/test.jsonl")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        command("review", "r.db", "serve", "--port", str(port)),
        cwd=tmp_path,
        env=environment(installed),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in server.stdout:
            if str(port) in line:
                break
        page = fetched(f"http://127.0.0.1:{port}/")
        style = re.search(r'href="([^"]+\.css[^"]*)"', page)[1]
        assert "{" in fetched(f"http://127.0.0.1:{port}{style}")
    finally:
        server.kill()
        server.communicate()


def fetched(address):
    """A page, once the server is there."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(address) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError(f"{address}: no answer")


def test_the_installed_package_is_the_one_that_runs(installed, tmp_path):
    code = "import dignified_jax.configs.lagdpo as c; print(c.__file__, c.get_config().workdir)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(installed),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed))
