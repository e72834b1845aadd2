"""What each command does with a bucket: writes there through a copy, or refuses it by name."""

import argparse
import pathlib
import types

import pytest

from dignified_jax import analyze, compare, construct, convert, evaluate, generate, train
from dignified_jax.construction import pipeline
from dignified_jax.evaluation import chain
from dignified_jax.files import store
from dignified_jax.objectives import METHODS
from dignified_jax.training.config import ConfigError, TrainConfig

pytestmark = pytest.mark.wiring


@pytest.mark.parametrize(
    ("main", "arguments", "name"),
    [
        (generate.main, ["--model=m", "--prompts=p.jsonl", "--out=s3://b/o.jsonl"], "--out"),
        (convert.main, ["to-hf", "--checkpoint=run", "--out=gs://b/hf"], "--out"),
        (compare.main, ["--config=compare", "--config.workdir=gs://b/two"], "workdir"),
        (train.main, ["--config=lagdpo", "--config.data.train=gs://b/r.jsonl"], "data.train"),
        (train.main, ["--config=lagdpo", "--config.data.cache=gs://b/ids"], "data.cache"),
    ],
)
def test_what_cannot_be_in_a_bucket_is_refused(main, arguments, name, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code != 0
    said = capsys.readouterr().err
    assert f"{name}: expected a path here, found " in said and "://b/" in said
    assert said.endswith("; mount the bucket, or copy what is wanted\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workdir": "az://b/run"}, "workdir: az://b/run: expected a directory, gs://"),
        ({"workdir": "s3://b"}, "workdir: s3://b: expected s3://BUCKET/DIRECTORY"),
    ],
)
def test_a_run_directory_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(method=METHODS["lagdpo"](), **changes)
    assert str(caught.value).startswith(message)


def test_analyze_writes_there(url):
    def run(options, notify):
        file = pathlib.Path(options.workdir) / "drift.json"
        file.write_text("{}")
        notify(f"drift: {file}")

    flags = ("coordinator", "processes", "process", "distributed", "process_timeout")
    module = types.SimpleNamespace(run=run)
    given = {"command": "drift", "workdir": url, "module": module}
    options = argparse.Namespace(**given, **dict.fromkeys(flags))
    lines = []
    analyze._run(options, lines.append)
    assert lines == [f"drift: {url}/drift.json"]
    assert (store.place(url) / "drift.json").read_text() == "{}"


def test_evaluate_writes_there_and_goes_on(url, monkeypatch, capsys):
    seen = []

    def run(config, notify):
        scores = pathlib.Path(config.workdir) / "scores"
        seen.append(scores.is_dir())
        scores.mkdir(exist_ok=True)
        (scores / "summary.txt").write_text("of scores\n")
        return scores

    monkeypatch.setattr(chain, "run", run)
    given = [
        *("--config=evaluate:models", "--config.models=a=embedded:tiny-qwen3"),
        *("--config.prompts=p.jsonl", "--config.judging.judges=local:embedded:tiny-qwen3"),
        f"--config.workdir={url}",
    ]
    for _ in range(2):
        assert evaluate.main(given) == 0
        assert capsys.readouterr().out.endswith(f"of scores\n\nreport: {url}/scores\n")
    assert seen == [False, True]


def test_construct_writes_there(url, monkeypatch, capsys):
    def run(config, notify):
        (pathlib.Path(config.workdir) / "rows.jsonl").write_text("{}\n")
        return pathlib.Path(config.workdir) / "rows.jsonl"

    monkeypatch.setattr(pipeline, "run", run)
    assert construct.main(["--config=construct", f"--config.workdir={url}"]) == 0
    assert capsys.readouterr().out.endswith(f": {url}/rows.jsonl\n")
    assert (store.place(url) / "rows.jsonl").read_text() == "{}\n"
