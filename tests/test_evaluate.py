"""The command line of evaluation."""

import pathlib
import shutil

import pytest

from dignified_jax import evaluate
from dignified_jax.evaluation import chain
from dignified_jax.evaluation import config as evaluation_config
from dignified_jax.training import stages

CONFIG = str(pathlib.Path(evaluate.__file__).parents[1] / "configs" / "evaluate.py")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """The configurations that would be run, and trainings that would be made."""
    found = {"run": [], "trained": []}
    monkeypatch.chdir(tmp_path)

    def train(config):
        found["trained"].append(config)
        export = pathlib.Path(config.workdir) / "export"
        export.mkdir(parents=True)
        (export / "config.json").write_text("{}")

    monkeypatch.setattr(chain, "run", lambda config, notify: found["run"].append(config))
    monkeypatch.setattr(stages, "run", train)
    return found


def test_the_model_of_a_configuration_is_trained_briefly_once(seen, capsys):
    assert evaluate.main([f"--config={CONFIG}"]) == 0
    assert evaluate.main([f"--config={CONFIG}"]) == 0
    (trained,) = seen["trained"]
    assert trained.max_steps == evaluate.SHORT_STEPS
    assert trained.workdir == "runs/evaluate-tiny/trained/lagdpo"
    after = "after=runs/evaluate-tiny/trained/lagdpo/export"
    assert seen["run"][0].models == ("before=embedded:tiny-qwen3", after)
    assert "runs/lagdpo-tiny has no finished run" in capsys.readouterr().out


def test_a_finished_run_is_taken(seen):
    export = pathlib.Path("runs/lagdpo-tiny/export")
    export.mkdir(parents=True)
    (export / "config.json").write_text("{}")
    assert evaluate.main([f"--config={CONFIG}"]) == 0
    assert seen["trained"] == []
    assert seen["run"][0].models[1] == "after=runs/lagdpo-tiny/export"


def test_flags_and_printed_configuration(seen, capsys):
    flags = ["--config=evaluate", "--config.judging.judges=openai/gpt-4.1,me=local:x"]
    assert evaluate.main([*flags, "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert "judges: [openai/gpt-4.1, 'me=local:x']" in printed
    pathlib.Path("own.yaml").write_text(printed)
    assert evaluate.main(["--config=own.yaml", "--config.models=a=b"]) == 0
    assert seen["run"][0].judging.judges == ("openai/gpt-4.1", "me=local:x")
    assert seen["run"][0].models == ("a=b",)


def test_help_lists_fields_of_all_sections(capsys):
    assert evaluate.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for field in ("most_prompts", "generation.temperature", "judging.neutral", "scoring.method"):
        assert field in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.judging.judge=x"], "judging.judge"),
        (["--config.models=path"], "models: expected NAME=PATH, found 'path'"),
        (["--config.models=m=train:nothing"], "--config=nothing"),
    ],
)
def test_refusals_are_one_line(flags, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        evaluate.main([f"--config={CONFIG}", *flags])
    said = capsys.readouterr().err + str(stop.value.code)
    assert message in said
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        evaluate.main([f"--config={CONFIG}", "--config.models=m=nowhere"])
    assert "nowhere: no such directory" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "runs")


def test_the_preset_for_models_of_ones_own_has_the_defaults(seen):
    defaults = evaluation_config.EvaluationConfig(models=("a=b",))
    assert evaluate.main([f"--config={CONFIG}:models", "--config.models=a=b"]) == 0
    assert seen["run"] == [defaults]
    with pytest.raises(SystemExit):
        raise SystemExit(evaluate.main([f"--config={CONFIG}:other"]))
