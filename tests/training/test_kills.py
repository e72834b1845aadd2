"""kill -9 at any moment: the same command goes on, and ends as if nothing had happened."""

import random
import time

import pytest

from tests.oracles import command


def start(root, workdir):
    return command.start(root, workdir, variables=command.WIRING)


@pytest.fixture(scope="module")
def undisturbed(root):
    status, output = command.finish(start(root, root / "undisturbed"))
    assert status == 0, output
    steps = [record["step"] for record in command.logged(root / "undisturbed") if "loss" in record]
    assert steps == list(range(1, command.STEPS + 1))
    return root / "undisturbed"


def killed_when(root, workdir, moment):
    """Starts the run and kills it as soon as `moment()`; whether it came before the end."""
    process = start(root, workdir)
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


def test_killed_while_saving_and_exporting(root, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    moments = [saves(workdir), exports(workdir)]
    assert all(killed_when(root, workdir, moment) for moment in moments)
    assert not (workdir / "export").exists()
    status, output = command.finish(start(root, workdir))
    assert status == 0, output
    assert f"resuming after step {command.STEPS}" in output
    command.assert_equal(workdir, undisturbed)


def delayed(moment, seconds):
    """So many seconds after `moment`."""
    reached = []

    def later():
        if not reached and moment():
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() - reached[0] >= seconds

    return later


@pytest.mark.slow
def test_killed_45_times_at_random_moments(root, undisturbed, tmp_path):
    """Over and over, from the imports to the export; every run that ends is compared."""
    draw = random.Random(0)
    kills = 0
    for number in range(100):
        workdir = tmp_path / f"run{number}"
        while kills < 45:
            moments = {
                "start": lambda: True,
                "log": logs(workdir, draw.randrange(1, 9)),
                "save": saves(workdir),
                "export": exports(workdir),
            }
            kind = draw.choice(list(moments))
            seconds = draw.uniform(0.0, 8.0 if kind == "start" else 0.03)
            if not killed_when(root, workdir, delayed(moments[kind], seconds)):
                break
            kills += 1
        status, output = command.finish(start(root, workdir))
        assert status == 0, output
        command.assert_equal(workdir, undisturbed)
        if kills == 45:
            return
    pytest.fail(f"only {kills} kills came before a run's end")
