"""kill -9 at any moment: the same command goes on, and ends as if nothing had happened."""

import random
import time

import pytest

from tests.oracles import command


@pytest.fixture(scope="module")
def undisturbed(root):
    status, output = command.finish(command.start(root, root / "undisturbed"))
    assert status == 0, output
    steps = [record["step"] for record in command.logged(root / "undisturbed") if "loss" in record]
    assert steps == list(range(1, command.STEPS + 1))
    return root / "undisturbed"


def killed_when(root, workdir, moment):
    """Starts the run and kills it as soon as `moment()`; whether it came before the end."""
    process = command.start(root, workdir)
    try:
        while process.poll() is None:
            if moment():
                process.kill()
                process.communicate()
                return process.returncode == -9
            time.sleep(0.0005)
        output = process.communicate()[0]
        assert process.returncode == 0, output
        return False
    finally:
        process.kill()


def logs(workdir, count):
    """Training: the log has that many lines more than now."""
    enough = command.lines(workdir) + count
    return lambda: command.lines(workdir) >= enough


def saves(workdir):
    """A checkpoint is being written."""
    return lambda: any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp"))


def exports(workdir):
    """Weights are being written."""
    return (workdir / "export.partial").exists


def test_killed_while_training_saving_and_exporting(root, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    moments = [logs(workdir, 2), saves(workdir), logs(workdir, 9), saves(workdir), exports(workdir)]
    assert all(killed_when(root, workdir, moment) for moment in moments)
    assert not (workdir / "export").exists()
    status, output = command.finish(command.start(root, workdir))
    assert status == 0, output
    assert f"resuming after step {command.STEPS}" in output
    command.assert_equal(workdir, undisturbed)


@pytest.mark.slow
def test_killed_45_times_at_random_moments(root, undisturbed, tmp_path):
    """After a random time, over and over from the first step to the export."""
    draw = random.Random(0)
    started = time.monotonic()
    status, _ = command.finish(command.start(root, tmp_path / "timed"))
    longest = time.monotonic() - started
    kills = 0
    for number in range(100):
        workdir = tmp_path / f"run{number}"
        while kills < 45:
            end = time.monotonic() + draw.uniform(0.3, 1.0) * longest
            if not killed_when(root, workdir, lambda end=end: time.monotonic() > end):
                break
            kills += 1
        status, output = command.finish(command.start(root, workdir))
        assert status == 0, output
        command.assert_equal(workdir, undisturbed)
        if kills == 45:
            return
