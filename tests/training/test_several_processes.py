"""Jobs of several processes that are killed, frozen, hung, stopped and resumed by fewer."""

import json
import re
import shutil
import signal
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.oracles import command, job, tiny_run

pytestmark = pytest.mark.slow

BOUND = 10  # seconds of `distributed.timeout`
GRACE = 30  # seconds that clouds give between SIGTERM and SIGKILL


def flags(root, workdir, data, *more):
    return (
        "--config=lagdpo",
        f"--config.workdir={workdir}",
        f"--config.model.path={root / 'model'}",
        f"--config.data.train={root / 'train.jsonl'}",
        f"--config.data.test={root / 'test.jsonl'}",
        *("--config.data.row_length=80", "--config.data.validation_fraction=0.2"),
        *("--config.batch_size=3", "--config.epochs=8"),
        *("--config.eval_every=3", "--config.checkpoint_every=3"),
        *(f"--config.mesh.data={data}", "--config.mesh.fsdp=2"),
        *more,
    )


def start(root, workdir, count, *more, **options):
    return job.start(count, "train", *flags(root, workdir, count, *more), timeout=BOUND, **options)


def wait(processes, moment, seconds=400):
    """Until `moment()`; what the processes said, if one ends before."""
    until = time.monotonic() + seconds
    while not moment():
        ended = [process for process in processes if process.poll() is not None]
        assert not ended, "\n".join(process.communicate()[0] for process in ended)
        assert time.monotonic() < until
        time.sleep(0.001)


def logs(workdir, count):
    enough = command.lines(workdir) + count
    return lambda: command.lines(workdir) >= enough


def saves(workdir):
    return lambda: any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp"))


def ended(processes, but, within):
    """Outputs of the processes that were not killed, which end by themselves."""
    began = time.monotonic()
    rest = [process for number, process in enumerate(processes) if number != but]
    outputs = [process.communicate(timeout=within)[0] for process in rest]
    # Where the first one is killed, JAX may abort another that has just said why it ends.
    known = {1, -signal.SIGABRT} if but == 0 else {1}
    assert {process.returncode for process in rest} <= known, outputs
    return outputs, time.monotonic() - began


@pytest.fixture(scope="module")
def undisturbed(root):
    found = job.end(start(root, root / "two", 2))
    assert [status for status, _ in found] == [0, 0], found
    return root / "two"


def test_killed_in_mid_save_and_in_mid_step_nothing_is_lost(root, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    for but, moment in ((1, saves(workdir)), (0, logs(workdir, 5)), (1, logs(workdir, 9))):
        processes = start(root, workdir, 2)
        wait(processes, moment)
        processes[but].kill()
        (output,), _ = ended(processes, but, BOUND)
        assert f"error: process {but} on " in output and ") is lost (killed, " in output
        assert re.search(r"stood at: .*(step|batch|batches|saving)", output), output
        job.kill(processes)
    found = job.end(start(root, workdir, 2))
    assert [status for status, _ in found] == [0, 0], found
    assert "resuming after step" in found[0][1]
    command.assert_equal(workdir, undisturbed)


def test_killed_in_mid_evaluation_nothing_is_lost(root, undisturbed, tmp_path):
    workdir, where = tmp_path / "run", tmp_path / "hangs-1"
    held = {"place": ("validation batch 1", 3600), "own": (1,), "cwd": tmp_path}
    processes = start(root, workdir, 2, **held)
    wait(processes, where.exists)  # after step 3
    processes[1].kill()
    (output,), _ = ended(processes, 1, BOUND)
    assert "error: process 1 on " in output and ") is lost (killed, " in output
    job.kill(processes)
    assert [status for status, _ in job.end(start(root, workdir, 2))] == [0, 0]
    command.assert_equal(workdir, undisturbed)


def test_a_slow_one_is_waited_for(root, undisturbed, tmp_path):
    """Frozen for less than the timeout: nothing comes of it but the wait."""
    processes = start(root, tmp_path / "run", 2)
    wait(processes, logs(tmp_path / "run", 3))
    for process in (processes[1], processes[0]):
        process.send_signal(signal.SIGSTOP)
        time.sleep(BOUND / 2)
        process.send_signal(signal.SIGCONT)
    assert [status for status, _ in job.end(processes)] == [0, 0]
    command.assert_equal(tmp_path / "run", undisturbed)


def test_a_damaged_newest_checkpoint_ends_all_and_the_last_whole_one_is_named(
    root, undisturbed, tmp_path
):
    workdir = tmp_path / "run"
    processes = start(root, workdir, 2)
    wait(processes, (workdir / "checkpoints" / "9").is_dir)
    job.kill(processes)
    kept = (workdir / "checkpoints").iterdir()
    before, newest = sorted(int(step.name) for step in kept if step.name.isdecimal())[-2:]
    content = list((workdir / "checkpoints" / str(newest) / "params").rglob("d/*"))
    assert content
    for file in content:
        file.write_bytes(bytes(len(file.read_bytes())))
    for status, output in job.end(start(root, workdir, 2)):
        assert status == 1
        assert f"checkpoints/{newest}" in output, output
        assert f"delete it to go on from {before}" in output
    shutil.rmtree(workdir / "checkpoints" / str(newest))
    (first, told), (second, _) = job.end(start(root, workdir, 2))
    assert (first, second) == (0, 0) and f"resuming after step {before} from" in told
    command.assert_equal(workdir, undisturbed)


def test_a_second_job_in_the_directory_is_refused_and_the_first_unharmed(
    root, undisturbed, tmp_path
):
    workdir = tmp_path / "run"
    first = start(root, workdir, 2)
    wait(first, logs(workdir, 2))
    for status, output in job.end(start(root, workdir, 2)):
        assert status == 1
        assert f"{workdir}: another run is writing here (process {first[0].pid} on " in output
    assert [status for status, _ in job.end(first)] == [0, 0]
    command.assert_equal(workdir, undisturbed)


def test_a_first_process_that_never_comes_is_named(root, tmp_path):
    more = flags(root, tmp_path / "run", 2, "--config.distributed.join_timeout=3")
    ((status, output),) = job.end(job.start(2, "train", *more, absent=(0,)))
    assert status == 1
    assert "error: distributed: process 1 on " in output
    assert "has waited for 3 s for the first process at 127.0.0.1:" in output


def test_a_host_with_other_code_is_refused(root, tmp_path):
    copy = tmp_path / "repository"
    shutil.copytree(command.REPOSITORY / "dignified_jax", copy / "dignified_jax")
    shutil.copytree(command.REPOSITORY / "configs", copy / "configs")
    with (copy / "dignified_jax" / "train.py").open("a") as stream:
        stream.write("\n# A change.\n")
    for status, output in job.end(start(root, tmp_path / "run", 2, own=(1,), repository=copy)):
        assert status == 1
        assert "error: process 1 on " in output
        assert "has versions other than process 0: dignified_jax: " in output


def test_four_processes_two_and_one_take_the_same_examples(root, undisturbed, tmp_path):
    """SIGTERM to one saves on all; each checkpoint is gone on from by fewer; two to the end too."""
    alone, workdir = tmp_path / "alone", tmp_path / "run"
    assert [status for status, _ in job.end(start(root, alone, 1))] == [0]
    four = start(root, workdir, 4)
    wait(four, logs(workdir, 4))
    four[2].send_signal(signal.SIGTERM)
    began = time.monotonic()
    found = job.end(four)
    assert time.monotonic() - began < GRACE
    assert [status for status, _ in found] == [143] * 4, found
    two = start(root, workdir, 2)
    wait(two, logs(workdir, 8))
    two[1].kill()
    ended(two, 1, BOUND)
    job.kill(two)
    assert [status for status, _ in job.end(start(root, workdir, 1))] == [0]
    for run in (undisturbed, workdir):
        check_close(alone, run)


def check_close(alone, several):
    """Losses, multipliers and weights are those of one process to 1e-6."""
    one, other = command.logged(alone), command.logged(several)
    assert [r["step"] for r in one] == [r["step"] for r in other]
    worst = {}
    for left, right in zip(one, other, strict=True):
        for key in left:
            if "loss" in key or "lambda" in key:
                worst[key] = max(worst.get(key, 0), abs(left[key] - right[key]))
    print(json.dumps(worst))
    assert max(worst.values()) < 1e-6, worst
    weights = [load_file(run / "export" / "model.safetensors") for run in (alone, several)]
    for name in weights[0]:
        np.testing.assert_allclose(weights[0][name], weights[1][name], atol=1e-6, err_msg=name)


def test_one_that_hangs_in_mid_step_is_named(root, tmp_path):
    hangs = start(root, tmp_path / "run", 2, place=("step 5", 3600), own=(1,), cwd=tmp_path)
    wait(hangs, (tmp_path / "hangs-1").exists)
    outputs, seconds = ended(hangs, None, 3 * BOUND)
    assert seconds < 2 * BOUND
    for output in outputs:
        assert "error: process 1 on " in output
        assert "is missing: it stands at: after step 4, while the others have waited" in output
        assert "for it at: step 5, for 1" in output
    assert "the same command goes on from the last checkpoint" in outputs[0]


@pytest.mark.parametrize("frozen", [0, 1])
def test_one_that_is_frozen_is_named(root, tmp_path, frozen):
    processes = start(root, tmp_path / "run", 2, "--config.epochs=400")
    wait(processes, logs(tmp_path / "run", 3))
    processes[frozen].send_signal(signal.SIGSTOP)
    (output,), seconds = ended(processes, frozen, 3 * BOUND)
    assert seconds < 2 * BOUND
    assert f"error: process {frozen} on " in output
    assert "is missing: nothing was heard of it for 1" in output
    job.kill(processes)


def test_a_host_with_other_rows_or_another_configuration_is_refused(root, tmp_path):
    rows = tiny_run.records()[1 : tiny_run.TRAIN_ROWS]
    tiny_run.write_rows(tmp_path / "train.jsonl", rows)

    def own(change):
        return lambda index: flags(root, tmp_path / "run", 2, *([change] if index else []))

    for change, told in (
        (f"--config.data.train={tmp_path / 'train.jsonl'}", "has inputs other than process 0: "),
        ("--config.optimizer.learning_rate=1e-3", "optimizer.learning_rate: "),
    ):
        (first, one), (second, two) = job.end(job.start(2, "train", own(change), timeout=BOUND))
        assert (first, second) == (1, 1)
        assert told in two and "error: process 1 on " in two
        assert told in one and "error: process 1 on " in one


def test_a_host_may_have_its_rows_elsewhere(root, tmp_path):
    """Two sources by weights, at other paths on the second host."""
    rows = tiny_run.records()[: tiny_run.TRAIN_ROWS]
    places = [tmp_path / "here", tmp_path / "there"]
    for place in places:
        place.mkdir()
        tiny_run.write_rows(place / "a.jsonl", rows[:6])
        tiny_run.write_rows(place / "b.jsonl", rows[6:])

    def own(index):
        place = places[index]
        sources = f"('{place / 'a.jsonl'}', '{place / 'b.jsonl'}')"
        more = (f"--config.data.train={sources}", "--config.data.weights=(1.0, 2.0)")
        return flags(root, tmp_path / "run", 2, *more, "--config.epochs=2")

    (first, one), (second, two) = job.end(job.start(2, "train", own, timeout=BOUND))
    assert (first, second) == (0, 0), one + two
    assert "an epoch draws " in one and str(places[0] / "b.jsonl") in one
