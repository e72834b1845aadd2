"""The command lines `train` and `convert` fail with a status and one clear line, no traceback."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from absl import logging

from dignified_jax import compare, convert, train
from dignified_jax.training import config_file, diagnosis, loop
from dignified_jax.training.run import interrupt
from tests.oracles import tiny_run

pytestmark = pytest.mark.wiring

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = f"--config={ROOT / 'configs' / 'lagdpo.py'}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("source")
    tiny_run.write(directory)
    return directory


@pytest.fixture
def model(source, tmp_path):
    """A copy of the model directory, to spoil."""
    return pathlib.Path(shutil.copytree(source / "model", tmp_path / "model"))


@pytest.fixture
def run_train(source, tmp_path, monkeypatch, capsys):
    """Runs `train` as `python -m` does, on the tiny run's files: (exit status, what it says)."""
    monkeypatch.chdir(ROOT)

    def run(*arguments, overrides=True):
        files = [
            CONFIG,
            f"--config.workdir={tmp_path / 'run'}",
            f"--config.model.path={source / 'model'}",
            f"--config.data.train={source / 'train.jsonl'}",
            f"--config.data.test={source / 'test.jsonl'}",
            "--config.data.row_length=80",
        ]
        argv = [*(files if overrides else []), *arguments]
        try:
            train.main(argv)
        except SystemExit as stop:
            if isinstance(stop.code, str):  # the interpreter prints it and exits with 1
                return 1, stop.code
            return stop.code, capsys.readouterr().err.strip()
        return 0, capsys.readouterr().err.strip()

    yield run
    logging.set_verbosity(logging.WARNING)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is required, such as --config=lagdpo; see --help"),
        (["--config=nowhere.py"], "[Errno 2] No such file or directory: 'nowhere.py'"),
        (["--config=nowhere.py", "--config.epochs=1"], "No such file or directory: 'nowhere.py'"),
        ([f"{CONFIG}:huge"], "unknown preset 'huge'; expected one of tiny, qwen3-4b, llama3-8b"),
        ([CONFIG, "--epochs=1"], "unknown flag --epochs; did you mean --config.epochs?"),
        ([CONFIG, "--config.epoch=1"], "unknown config key epoch; known: batch_size"),
        ([CONFIG, "--config.method.eps=1"], "unknown config key method.eps; known: method.beta"),
        ([CONFIG, "--config.epochs.x=1"], "epochs must be of type int, found {'x': '1'}"),
        ([CONFIG, "--config.epochs=many"], "epochs must be of type int, found 'many'"),
        ([CONFIG, "--config.epochs=0"], "epochs must be at least 1, found 0"),
        ([CONFIG, "epochs=1"], "unexpected arguments: epochs=1"),
        (
            [CONFIG, "--plan_rows=2"],
            "--plan_devices and --plan_rows have no meaning without --plan",
        ),
        (
            [CONFIG, "--plan", "--plan_devices=h100", f"--plan_rows={10**30}"],
            "--plan_rows: expected at most 131,072, found 1000",
        ),
        (
            [CONFIG, "--config.data.chat_\x1b[2J=1"],
            r"unknown config key data.chat_\x1b[2J",
        ),
        ([CONFIG, "--plan", "--plan_rows=0"], "argument --plan_rows: 0 is not a positive integer"),
        ([CONFIG, "--plan", "--plan_devices=8xh300"], "--plan_devices: expected a device, or"),
    ],
)
def test_train_refuses_wrong_arguments(arguments, message, run_train, monkeypatch):
    monkeypatch.setattr(loop, "run", lambda config: pytest.fail(f"ran with {config}"))
    status, said = run_train(*arguments, overrides=False)
    assert status == 1
    assert said.startswith("error: ")
    assert message in said
    assert "\n" not in said


def test_train_passes_the_overridden_configuration_on(run_train, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "run", seen.append)
    assert run_train("--config.method.epsilon=(0.1, 0.2, 0.3, 0.4)") == (0, "")
    (config,) = seen
    assert config.method.epsilon == (0.1, 0.2, 0.3, 0.4)
    assert config.data.row_length == 80


def test_a_plan_is_printed_and_nothing_is_run(run_train, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "run", lambda config: pytest.fail(f"ran with {config}"))
    said = []
    monkeypatch.setattr("builtins.print", lambda text: said.append(text))
    assert run_train("--plan", "--plan_devices=2xv5e", "--config.distributed=True") == (0, "")
    (text,) = said
    assert "on 2 x TPU v5e (data 1 x fsdp 2 x tensor 1), attention splash" in text
    assert "rows of 80 tokens (counted in the training data)" in text
    assert "of 16: fits" in text
    assert not (tmp_path / "run").exists()


def test_train_reports_a_loss_that_is_not_finite(run_train, monkeypatch):
    def run(config):
        raise diagnosis.NonFiniteError("step 3: the loss or its gradient is not finite")

    monkeypatch.setattr(loop, "run", run)
    expected = "error: step 3: the loss or its gradient is not finite"
    assert run_train() == (1, expected)


def test_a_signal_gives_the_exit_status_that_shells_expect(run_train, monkeypatch):
    def run(config):
        raise interrupt.Interrupted("SIGTERM: stopped after step 3 of 6", 143)

    monkeypatch.setattr(loop, "run", run)
    assert run_train() == (143, "SIGTERM: stopped after step 3 of 6")


def test_train_tells_what_an_error_leaves(run_train, monkeypatch):
    def run(config):
        error = OSError(28, "No space left on device", "run/metrics.jsonl")
        error.add_note("last whole checkpoint: run/checkpoints/4")
        raise error

    monkeypatch.setattr(loop, "run", run)
    expected = "error: [Errno 28] No space left on device: 'run/metrics.jsonl'"
    assert run_train() == (1, f"{expected}; last whole checkpoint: run/checkpoints/4")


def test_train_shows_where_an_error_came_from_when_asked(run_train):
    status, said = run_train("--config.data.train=nowhere.jsonl", "--verbosity=1")
    assert status == 1
    assert "Traceback (most recent call last):" in said
    assert said.splitlines()[-1].startswith("error: nowhere.jsonl: no such file")


def test_train_refuses_a_missing_file(run_train):
    status, said = run_train("--config.data.train=nowhere.jsonl")
    assert status == 1
    assert said.startswith("error: nowhere.jsonl: no such file; expected a .jsonl")
    assert "\n" not in said


def test_train_refuses_a_missing_model(run_train, tmp_path):
    status, said = run_train(f"--config.model.path={tmp_path / 'nowhere'}")
    assert (status, said) == (
        1,
        f"error: {tmp_path / 'nowhere'}: no such directory, and not a hub id (owner/name)",
    )


def test_train_refuses_an_unknown_embedded_name(run_train):
    status, said = run_train("--config.data.train=embedded:personaknob_mini/dev.jsonl")
    assert status == 1
    assert "embedded:personaknob_mini/train.jsonl" in said
    assert "\n" not in said


def test_train_refuses_examples_longer_than_the_row(run_train):
    status, said = run_train("--config.data.row_length=54", "--config.data.on_too_long=error")
    first, second = said.splitlines()
    assert status == 1
    assert first.startswith("error: 1 examples are too long; raise the limit or use on_too_long=")
    assert second.endswith("55 tokens, row_length 54")


def test_train_refuses_a_tokenizer_without_chat_template(run_train, model):
    (model / "chat_template.jinja").unlink()
    status, said = run_train(f"--config.model.path={model}")
    assert status == 1
    assert said.startswith(f"error: tokenizer {model}: expected a chat template, found none; set ")
    assert "\n" not in said


def test_train_refuses_a_model_without_tokenizer(run_train, model):
    for file in [*model.glob("tokenizer*"), *model.glob("*.jinja")]:
        file.unlink()
    status, said = run_train(f"--config.model.path={model}")
    assert status == 1
    assert said.startswith("error: ")
    assert "Traceback" not in said


def spoil_config(model, **fields):
    file = model / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_train_and_convert_refuse_an_unsupported_architecture(run_train, model, tmp_path, capsys):
    spoil_config(model, architectures=["GPT2LMHeadModel"], model_type="gpt2")
    status, message = run_train(f"--config.model.path={model}")
    assert status == 1 and message.startswith(f"error: {model / 'config.json'}: ")
    assert "model_type is 'gpt2'" in message
    assert re.search(r"expected one of .*\bllama\b", message)
    assert convert.main(["to-orbax", "--hf", str(model), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.strip() == message
    assert not (tmp_path / "out").exists()


def test_train_and_convert_refuse_a_config_that_is_not_json(run_train, model, tmp_path, capsys):
    (model / "config.json").write_text('{"model_type": ')
    status, said = run_train(f"--config.model.path={model}")
    assert status == 1
    assert "config.json: not readable as JSON" in said
    assert convert.main(["to-orbax", "--hf", str(model), "--out", str(tmp_path / "out")]) == 1
    assert "config.json: not readable as JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["to-hf", "--checkpoint", "nowhere", "--out", "out"], "nowhere: no such directory"),
        (["to-hf", "--checkpoint", ".", "--out", "out"], ".: no checkpoint; expected params/ in"),
        (["to-orbax", "--hf", "nowhere", "--out", "out"], "nowhere: no such directory, and not a"),
        (["to-orbax", "--hf", "embedded:x", "--out", "out"], "embedded:x: embedded are embedded:"),
    ],
)
def test_convert_refuses_what_is_not_there(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert.main(arguments) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"error: {message}")
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["to-hf", "--nope"], "error: the following arguments are required: --checkpoint, --out"),
        (["to-hf", "--checkpoint=x", "--out=y", "--nope"], "error: unrecognized arguments: --nope"),
        (["to-onnx"], "error: argument command: invalid choice: 'to-onnx'"),
        (["to-hf", "--checkpoint=x", "--out=y", "--dtype=int8"], "invalid choice: 'int8'"),
        ([], "error: the following arguments are required: command"),
    ],
)
def test_convert_refuses_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        convert.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_convert_does_not_overwrite_a_checkpoint(source, tmp_path, capsys):
    arguments = ["to-orbax", "--hf", str(source / "model"), "--out", str(tmp_path / "bare")]
    assert convert.main(arguments) == 0
    assert convert.main(arguments) == 1
    assert "bare: is not empty" in capsys.readouterr().err


def test_help_lists_the_configurations_of_its_command(capsys):
    """Each with a whole sentence, which is the first line of its file."""
    listed = []
    for command in (train, compare):
        assert command.main(["--help"]) == 0
        text = capsys.readouterr().out.split("configurations:\n")[1].split("\n\n")[0]
        listed.append(re.findall(r"^  (\w+) ", text, re.MULTILINE))
    assert listed == [
        sorted(set(config_file.shipped()) - {"compare", "evaluate", "construct"}),
        ["compare"],
    ]
    assert all(re.search(r"[.)]$", line) for line in config_file.shipped().values())


@pytest.mark.parametrize(
    ("arguments", "status", "stdout", "stderr"),
    [
        (["train", "--help"], 0, "python -m dignified_jax.train --config=lagdpo", ""),
        (["train"], 1, "", "error: --config is required"),
        (["train", "--config=nowhere.py"], 1, "", "error: [Errno 2] No such file or directory"),
        (["convert", "--help"], 0, "python -m dignified_jax.convert to-orbax --hf Qwen/", ""),
        (["convert", "to-hf", "--checkpoint=x", "--out=y"], 1, "", "error: x: no such directory"),
    ],
)
def test_as_a_shell_sees_it(arguments, status, stdout, stderr):
    """The others call `main`; this goes through `python -m` and a real exit status."""
    module, *rest = arguments
    done = subprocess.run(
        [sys.executable, "-m", f"dignified_jax.{module}", *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert stdout in done.stdout
    assert done.stderr.startswith(stderr)
    assert len(done.stderr.splitlines()) == (1 if stderr else 0)
