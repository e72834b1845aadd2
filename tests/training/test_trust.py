"""Whatever ends a run does so with a clear message, and leaves a whole last checkpoint."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import jax
import pytest

from dignified_jax.files import owned
from dignified_jax.models.checkpoint import params_checkpoint
from dignified_jax.training import loop
from dignified_jax.training.config import ConfigError
from dignified_jax.training.run import directory as run_directory
from dignified_jax.training.run import interrupt
from dignified_jax.training.step import sharding
from tests.oracles import command, tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 1


def configuration(root, workdir, **changes):
    return tiny_run.config(root, workdir, mesh=sharding.MeshConfig(), **changes)


@pytest.fixture(scope="module")
def finished(root):
    result = loop.run(configuration(root, root / "finished"))
    return root / "finished", result


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["ctrl-c", "sigterm", "closed terminal"],
)
def test_a_signal_ends_the_run_after_its_step(number, status, root, finished, tmp_path, capsys):
    """With a checkpoint between two regular ones; going on from it changes no bit."""
    config = configuration(root, tmp_path / "run")
    before = signal.getsignal(number)
    show = loop.progress.Progress.step

    def send(self, flat):
        if flat["step"] == 3:
            os.kill(os.getpid(), number)
        show(self, flat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.progress.Progress, "step", send)
        with pytest.raises(interrupt.Interrupted, match="stopped after step 3 of 6") as caught:
            loop.run(config)
    assert caught.value.exit_status == status
    assert signal.getsignal(number) is before
    assert f"{number.name}: stopping after this step" in capsys.readouterr().out
    assert (tmp_path / "run" / "checkpoints" / "3").is_dir()
    if number == signal.SIGTERM:  # what goes on is the same after each
        loop.run(config)
        assert "resuming after step 3" in capsys.readouterr().out
        command.assert_equal(tmp_path / "run", finished[0])


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def test_two_signals_end_the_process_at_once(root, tmp_path):
    """Steps are waited for, so the second comes while the first is being obeyed."""
    process = command.start(
        root, tmp_path / "run", "--config.epochs=2000", variables=command.WIRING
    )
    wait_for(lambda: command.lines(tmp_path / "run") > 0, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    status, output = command.finish(process)
    assert status in (130, 143)
    assert "again: stopped at once" in output
    assert "Traceback" not in output


def test_a_line_damaged_inside_the_log_is_set_aside(root, finished, tmp_path, capsys):
    shutil.copytree(finished[0], tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    assert loop.run(configuration(root, tmp_path / "run")) == finished[1]
    assert "1 damaged (line 2), set aside in metrics.damaged.jsonl" in capsys.readouterr().out
    assert log.read_text().splitlines() == [lines[0], *lines[2:]]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_run_without_a_file_of_its_own_mixes_with_no_other(name, root, finished, tmp_path):
    """It is known by its checkpoint; the same command goes on."""
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(ConfigError, match=r"optimizer.learning_rate: 0.0003 there, 0.01 now"):
        loop.run(configuration(root, tmp_path / "run", optimizer__learning_rate=1e-2))
    assert loop.run(configuration(root, tmp_path / "run")) == finished[1]


def test_the_same_model_and_rows_at_another_place_are_the_same_run(root, finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    shutil.copytree(root / "model", tmp_path / "model")
    for name in ("train.jsonl", "test.jsonl"):
        shutil.copyfile(root / name, tmp_path / name)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    moved = configuration(tmp_path, tmp_path / "run", checkpoint_every=1, eval_every=1)
    assert loop.run(moved) == finished[1] | {"rows": f"rows of {tmp_path / 'test.jsonl'}"}


def test_a_stop_between_evaluations_keeps_the_best_judged_one(root, tmp_path):
    """The checkpoint of the stop has no evaluation; the run still ends with its best."""
    changes = {"best_metric": "eval/loss/A", "best_mode": "max", "checkpoints_to_keep": 1}
    config = configuration(root, tmp_path / "run", **changes)
    show = loop.progress.Progress.step

    def send(self, flat):
        if flat["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        show(self, flat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.progress.Progress, "step", send)
        with pytest.raises(interrupt.Interrupted):
            loop.run(config)
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {"2", "3"}
    assert loop.run(config)["step"] == 2


def test_an_export_replaces_the_runs_own_and_nothing_else(root, finished, tmp_path):
    """As versions without a manifest wrote it, too."""
    shutil.copytree(finished[0], tmp_path / "run")
    export = tmp_path / "run" / "export"
    (export / owned.MANIFEST).unlink()
    for name in ("model-00001-of-00002.safetensors", "model_ema.safetensors", "notes.md"):
        (export / name).write_text("there")
    loop.run(configuration(root, tmp_path / "run"))
    assert {path.name for path in export.iterdir()} == {
        *(path.name for path in (finished[0] / "export").iterdir()),
        *("model_ema.safetensors", "notes.md"),
    }
    command.assert_equal(tmp_path / "run", finished[0])


def test_a_second_run_in_the_same_directory_is_refused(root, finished):
    config = configuration(root, finished[0])
    before = (finished[0] / "metrics.jsonl").read_bytes()
    with (
        run_directory.opened(config),
        pytest.raises(
            run_directory.BusyError, match=f"another run is writing here .process {os.getpid()}"
        ),
    ):
        loop.run(config)
    assert (finished[0] / "metrics.jsonl").read_bytes() == before
    with run_directory.opened(config):  # free again
        pass


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_a_damaged_checkpoint_is_named_with_the_one_to_go_on_from(damage, root, finished, tmp_path):
    """A file of it is gone, or one bit of it is another; the older one then gives the same end."""
    shutil.copytree(finished[0], tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "6"
    files = [path for path in (newest / "params").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    if damage == "deleted":
        largest.unlink()
    else:
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
    config = configuration(root, tmp_path / "run")
    with pytest.raises(params_checkpoint.CheckpointError) as caught:
        loop.run(config)
    assert str(caught.value).startswith(f"{newest}: cannot be restored: ")
    assert str(caught.value).endswith("delete it to go on from 4")
    shutil.rmtree(newest)
    loop.run(config)
    command.assert_equal(tmp_path / "run", finished[0])


def test_changed_files_behind_the_same_configuration_are_refused(root, tmp_path):
    """Rows, tokenizer, chat template and weights each by name; nothing of the run is lost."""
    source = tmp_path / "source"
    tiny_run.write(source)
    loop.run(configuration(source, tmp_path / "run", max_steps=2))
    kept = {
        name: (tmp_path / "run" / name).read_bytes() for name in ("metrics.jsonl", "inputs.json")
    }

    def refused():
        with pytest.raises(ConfigError, match="holds a run with other inputs") as caught:
            loop.run(configuration(source, tmp_path / "run", max_steps=2))
        for name, content in kept.items():
            assert (tmp_path / "run" / name).read_bytes() == content
        return {line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]}

    rows = tiny_run.records()
    rows[0]["golden"] += " Then wait."
    tiny_run.write_rows(source / "train.jsonl", rows[: tiny_run.TRAIN_ROWS])
    changed = refused()
    assert changed <= {
        f"{split} {what}" for split in ("train", "validation") for what in ("rows", "tokens")
    }
    assert len(changed) == 2  # the row is in one of the two splits
    tiny_run.write_rows(source / "train.jsonl", tiny_run.records()[: tiny_run.TRAIN_ROWS])

    template = source / "model" / "chat_template.jinja"
    original = template.read_text()
    template.write_text(original + "{# the same tokens #}")
    assert refused() == {"chat template"}
    template.write_text(original)

    tiny_run.write_model(source / "model", initializer_range=0.5)
    assert "model weights" in refused()
    shutil.copytree(root / "model", source / "model", dirs_exist_ok=True)
    loop.run(configuration(source, tmp_path / "run", max_steps=2))


def test_going_on_elsewhere_is_noted(root, finished, tmp_path, capsys):
    shutil.copytree(finished[0], tmp_path / "run")
    file = tmp_path / "run" / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"jax": "0.0.1"}))
    loop.run(configuration(root, tmp_path / "run"))
    assert f"not bit for bit as before: jax: 0.0.1 there, {jax.__version__} now" in (
        capsys.readouterr().out
    )


def tmpfs(options, directory):
    """A command prefix that mounts a file system of its own on `directory`."""
    mount = f'mount -t tmpfs -o {options} t {directory} && exec "$@"'
    wrapper = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    try:
        allowed = subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        allowed = 1
    if allowed != 0:
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    return wrapper


@pytest.mark.parametrize(
    ("size", "left"),
    [pytest.param("1m", "none yet", marks=pytest.mark.slow), ("3m", "checkpoints/")],
)
def test_a_full_disk_leaves_the_last_checkpoint(size, left, root, tmp_path):
    """1 MB is too little for one checkpoint, 3 MB for two and a third."""
    wrapper = tmpfs(f"size={size}", tmp_path)
    process = command.start(root, tmp_path / "run", wrapper=wrapper, variables=command.WIRING)
    status, output = command.finish(process)
    assert status == 1
    last = output.strip().splitlines()[-1].replace(str(tmp_path / "run") + "/", "")
    assert last.startswith("error: ") and "No space left on device" in last, last
    named = last.partition("; last whole checkpoint")[0]  # whichever was being written
    assert re.search(r"metrics\.jsonl|checkpoints|tensorboard", named), last
    assert f"last whole checkpoint: {left}" in last
    assert "Traceback" not in output


def test_a_directory_that_cannot_be_written_is_named(root, tmp_path):
    """By its permissions, which root does not heed: then by a read-only file system."""
    tmp_path.chmod(0o555)
    wrapper = tmpfs("ro", tmp_path) if os.getuid() == 0 else []
    status, output = command.finish(command.start(root, tmp_path / "run", wrapper=wrapper))
    tmp_path.chmod(0o755)
    assert status == 1
    last = output.strip().splitlines()[-1]
    assert last.startswith("error: [Errno ") and last.endswith(f"'{tmp_path / 'run'}'")
