"""TensorBoard's own reader on what was written; W&B by a recorder, and by itself where it is."""

import errno
import os
import signal
import subprocess
import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dignified_jax.training.display import trackers


def flat(step, value):
    return {"step": step, "loss": value, "loss/A": value + 0.25}


def read(workdir, tag="loss"):
    """(step, value) of a curve, as TensorBoard shows it."""
    events = EventAccumulator(str(workdir / trackers.TENSORBOARD_DIRECTORY)).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_has_every_metric_at_its_step(tmp_path):
    with trackers.open(tmp_path, 0, {}) as log:
        log.log(1, flat(1, 0.5))
        log.log(1, {"step": 1, "eval/loss/A": 0.125})
        log.log(2, flat(2, -4.0))
    assert read(tmp_path) == [(1, 0.5), (2, -4.0)]
    assert read(tmp_path, "loss/A") == [(1, 0.75), (2, -3.75)]
    assert read(tmp_path, "eval/loss/A") == [(1, 0.125)]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "loss/A", "eval/loss/A"}


def test_resuming_leaves_each_step_once(tmp_path):
    """Starts within one second: after nothing, after step 2 of 4, and from the beginning again."""
    written = []
    for number, (start, end) in enumerate([(0, 2), (2, 4), (2, 5), (0, 1)]):
        with trackers.open(tmp_path, start, {}) as log:
            for step in range(start + 1, end + 1):
                log.log(step, flat(step, float(number)))
        written = [pair for pair in written if pair[0] <= start]
        written += [(step, float(number)) for step in range(start + 1, end + 1)]
        assert read(tmp_path) == written
    assert written == [(1, 3.0)]


def test_a_start_that_logs_nothing_takes_back_what_came_after_its_step(tmp_path):
    with trackers.open(tmp_path, 0, {}) as log:
        for step in (1, 2, 3):
            log.log(step, flat(step, 1.0))
    trackers.open(tmp_path, 2, {}).close()
    assert read(tmp_path) == [(1, 1.0), (2, 1.0)]


def full(monkeypatch):
    """Every event file is on a full disk, whose error has no file."""

    def flush(writer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboardX.event_file_writer.EventsWriter.flush", flush)
    monkeypatch.setattr("tensorboardX.event_file_writer.EventsWriter.close", flush)


def test_a_full_disk_is_told_with_the_directory(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No space") as error, trackers.open(tmp_path, 0, {}) as found:
        full(monkeypatch)
        found.log(1, {"loss": 1.0})
    assert error.value.filename == str(tmp_path / trackers.TENSORBOARD_DIRECTORY)


def test_closing_does_not_hide_what_went_wrong_first(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="the first"), trackers.open(tmp_path, 0, {}):
        full(monkeypatch)
        raise ValueError("the first")


def test_what_was_logged_survives_a_kill(tmp_path):
    """And a record cut off in the middle hides nothing that a later start writes."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from dignified_jax.training.display import trackers\n"
        "log = trackers.open(pathlib.Path(sys.argv[1]), 0, {})\n"
        "for step in range(1, 31):\n"
        "    log.log(step, {'step': step, 'loss': float(step)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=os.getcwd(), timeout=60)
    assert done.returncode == -signal.SIGKILL
    expected = [(step, float(step)) for step in range(1, 31)]
    assert read(tmp_path) == expected
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert read(tmp_path) == expected[:-1]
    with trackers.open(tmp_path, 20, {}) as log:
        log.log(21, flat(21, -1.0))
    assert read(tmp_path) == [*expected[:20], (21, -1.0)]


class Recorder(types.ModuleType):
    """Stands in for the package wandb: a server that keeps each run's last step."""

    def __init__(self):
        super().__init__("wandb")
        self.runs, self.calls = {}, []

    def init(self, *, project, dir, id, resume, config, allow_val_change):
        assert resume == "allow" and allow_val_change
        history = self.runs.setdefault((project, id), {})
        start = max(history) + 1 if history else 0

        def log(values, step):
            assert step >= max(history, default=0), "W&B drops what comes late"
            history.setdefault(step, {}).update(values)

        def finish(exit_code):
            self.calls.append(("finish", exit_code))

        self.calls.append(("init", project, dir, id, config))
        return types.SimpleNamespace(starting_step=start, log=log, finish=finish, id=id)


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def test_wandb_resumes_the_run_and_gets_each_step_once(tmp_path, recorder):
    config = {"method": {"name": "lagdpo"}}
    for start, end in ((0, 4), (2, 6)):  # killed after 4, resumed after 2
        with trackers.open(tmp_path, start, config, "persona") as log:
            for step in range(start + 1, end + 1):
                log.log(step, flat(step, float(step)))
                log.log(step, {"step": step, "eval/loss": 0.5})
    ((project, run), history) = next(iter(recorder.runs.items()))
    assert len(recorder.runs) == 1 and project == "persona"
    assert run == (tmp_path / trackers.WANDB_ID_FILE).read_text().strip()
    assert history == {
        step: {"loss": float(step), "loss/A": step + 0.25, "eval/loss": 0.5} for step in range(1, 7)
    }
    assert recorder.calls[0] == ("init", "persona", str(tmp_path), run, config)
    assert recorder.calls[1] == ("finish", 0)
    assert [step for step, _ in read(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_fails_is_shown_as_failed(tmp_path, recorder):
    with pytest.raises(RuntimeError), trackers.open(tmp_path, 0, {}, "persona"):
        raise RuntimeError
    assert recorder.calls[-1] == ("finish", 1)


def test_another_run_directory_is_another_run(tmp_path, recorder):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        trackers.open(tmp_path / name, 0, {}, "persona").close()
    assert len(recorder.runs) == 2


def test_other_processes_keep_nothing(tmp_path, recorder):
    with trackers.open(tmp_path, 0, {}, "persona", visible=False) as log:
        log.log(1, flat(1, 0.5))
    assert recorder.calls == [] and not any(tmp_path.iterdir())


def test_without_a_project_wandb_is_left_alone(tmp_path, recorder):
    trackers.open(tmp_path, 0, {}).close()
    assert recorder.calls == []
    assert not (tmp_path / trackers.WANDB_ID_FILE).exists()


@pytest.mark.slow
def test_wandb_itself_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for start in (0, 1):
        with trackers.open(tmp_path, start, {"seed": 0}, "persona") as log:
            log.log(start + 1, flat(start + 1, 0.5))
    run = (tmp_path / trackers.WANDB_ID_FILE).read_text().strip()
    files = list((tmp_path / "wandb").glob(f"offline-run-*/run-{run}.wandb"))
    assert len(files) == 2
    assert all(b"loss/A" in file.read_bytes() for file in files)
