"""Runs in a bucket: killed at any moment, refused, damaged, resumed by more and fewer processes.

The stores are servers on the loopback (moto, gcp-storage-emulator), which are no clouds: what
differs there, as latency, consistency over regions and credentials that expire, is not tried here.
"""

import json
import os
import re
import subprocess
import sys
import time

import pytest

from dignified_jax import convert
from dignified_jax.files import store
from tests.oracles import command, job, stores

pytestmark = pytest.mark.slow


def environment():
    names = ("AWS_", "STORAGE_EMULATOR", "TENSORSTORE_", "GOOGLE_CLOUD_PROJECT")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


def start(root, workdir, *flags, **variables):
    return command.start(root, workdir, *flags, variables={**environment(), **variables})


@pytest.fixture(scope="module")
def undisturbed(root):
    status, output = command.finish(start(root, root / "local"))
    assert status == 0, output
    return root / "local"


def copied(url, target):
    """The run's files here, to be compared with those of a local run."""
    names = ("metrics.jsonl", "summary.json", "export/model.safetensors")
    assert set(store.download(url, target, names.__contains__)) == set(names)
    return target


def read(url, name):
    file = store.place(url) / name
    return file.read_text() if file.exists() else ""


def kill_when(process, moment):
    """Kills it as soon as `moment()`, which has to come before its end."""
    while not moment():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.kill()
    process.communicate()


def steps(url):
    return {name.split("/")[0] for name in store.files(f"{url}/checkpoints")}


def committed(url):
    return {
        name.split("/")[0]
        for name in store.files(f"{url}/checkpoints")
        if name.count("/") == 1 and name.endswith("commit_success.txt")
    }


def test_killed_in_mid_save_and_in_mid_step_it_ends_as_a_local_run(
    root, url, undisturbed, tmp_path
):
    kill_when(start(root, url), lambda: steps(url) - committed(url))  # a save under way
    half = steps(url) - committed(url)
    kill_when(start(root, url), lambda: len(committed(url)) >= 2)
    kill_when(start(root, url), lambda: "export/config.json" in store.files(url))
    status, output = command.finish(start(root, url))
    assert status == 0, output
    assert f"from {url}/checkpoints" in output and "lock is taken over" not in output
    assert f"run directory: {url}\nHugging Face export: {url}/export\n" in output
    assert half and not steps(url) - committed(url)
    command.assert_equal(copied(url, tmp_path), undisturbed)

    status, output = command.finish(start(root, url, "--config.optimizer.learning_rate=1e-3"))
    assert status == 1 and f"error: {url} holds a run with another configuration" in output

    assert convert.main(["to-hf", "--checkpoint", url, "--out", str(tmp_path / "hf")]) == 0
    exported = (undisturbed / "export" / "model.safetensors").read_bytes()
    assert (tmp_path / "hf" / "model.safetensors").read_bytes() == exported


def test_two_jobs_in_one_directory(root, url):
    first = start(root, url, "--config.epochs=400")
    while not committed(url):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    before = read(url, "config.json")
    began = time.monotonic()
    status, output = command.finish(start(root, url))
    assert status == 1
    assert re.search(rf"error: {url}: another run is writing here .process {first.pid} on", output)
    assert time.monotonic() - began < 60
    assert read(url, "config.json") == before
    first.terminate()
    status, output = command.finish(first)
    assert status == 143, output
    assert f"whose checkpoint is in {url}/checkpoints; the same command goes on" in output


def test_a_damaged_newest_checkpoint_is_named_with_the_last_whole_one(
    root, url, undisturbed, tmp_path
):
    status, output = command.finish(start(root, url))
    assert status == 0, output
    newest = f"{url}/checkpoints/{command.STEPS}"
    (store.place(newest) / "params" / "manifest.ocdbt").write_bytes(b"")
    status, output = command.finish(start(root, url))
    assert status == 1
    assert re.search(
        rf"error: {newest}: cannot be restored: .*; delete it to go on from 21", output
    )
    store.remove_tree(store.place(newest))
    status, output = command.finish(start(root, url))
    assert status == 0 and "resuming after step 21 from" in output, output
    command.assert_equal(copied(url, tmp_path), undisturbed)


def joined(root, url, count, *flags):
    port = job.free_port()
    return [
        start(
            root,
            url,
            *(f"--config.mesh.data={count}", "--config.mesh.fsdp=2", *flags),
            *(
                f"--config.distributed.coordinator=127.0.0.1:{port}",
                f"--config.distributed.processes={count}",
                f"--config.distributed.process={number}",
                "--config.distributed.timeout=20",
            )
            * (count > 1),
            XLA_FLAGS="--xla_force_host_platform_device_count=2",
        )
        for number in range(count)
    ]


def test_two_processes_are_killed_and_one_goes_on(root, url, tmp_path):
    """As in a local directory, to 1e-6, since sums of another mesh are taken in another order."""
    alone = joined(root, tmp_path / "alone", 1)
    two = joined(root, url, 2)
    kill_when(two[1], lambda: len(committed(url)) >= 2)
    status, output = command.finish(two[0])
    assert status == 1 and "error: process 1 on " in output, output
    two = joined(root, url, 2)
    kill_when(two[0], lambda: len(committed(url)) >= 2 and max(map(int, committed(url))) > 9)
    command.finish(two[1])
    status, output = command.finish(joined(root, url, 1)[0])
    other, told = command.finish(alone[0])
    assert (status, other) == (0, 0), output + told
    assert "resuming after step" in output
    one, several = command.logged(tmp_path / "alone"), command.logged(copied(url, tmp_path / "two"))
    assert [record["step"] for record in one] == [record["step"] for record in several]
    for left, right in zip(one, several, strict=True):
        for key in left:
            if "loss" in key or "lambda" in key:
                assert abs(left[key] - right[key]) < 1e-6, (left["step"], key)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_store_that_is_down_is_told_in_a_line(root, scheme):
    if absent := stores.missing(scheme):
        pytest.skip(f"not installed: {', '.join(absent)}")
    nowhere = f"http://127.0.0.1:{job.free_port()}"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": nowhere}
    emulators = ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL")
    down = {**keys, **dict.fromkeys(emulators, nowhere)}
    began = time.monotonic()
    status, output = command.finish(command.start(root, f"{scheme}://bucket/run", variables=down))
    assert status == 1
    assert re.fullmatch(rf"error: {scheme}://bucket/run: .*[Cc]o.*nnect.*\n", output), output
    assert time.monotonic() - began < 120


def test_wrong_credentials_are_told_in_a_line(root):
    if absent := stores.missing("s3"):
        pytest.skip(f"not installed: {', '.join(absent)}")
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.oracles.stores", "s3"],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1"},  # moto's: then it looks at keys
        cwd=command.REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        found = json.loads(server.stdout.readline())
        process = command.start(root, "s3://bucket/run", variables=found)
        status, output = command.finish(process)
    finally:
        server.kill()
        server.communicate()
    assert status == 1
    assert output == (
        "error: s3://bucket/run: The AWS Access Key Id you provided does not exist in our "
        "records.; credentials are looked for as AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY\n"
    )


def test_a_store_that_goes_down_ends_the_run(root, url):
    """The run is told of it at its next checkpoint, and goes on from the last one later."""
    scheme = url.partition("://")[0]
    with stores.serving(scheme) as found:
        process = command.start(root, url, "--config.epochs=400", variables=found)
        for line in process.stdout:
            if "eval 6" in line:
                break
    status, output = command.finish(process)  # within ten minutes
    assert status == 1
    assert re.search(rf"^error: {url}\S*: ", output, re.M), output


def test_methods_of_several_stages(root, url):
    """The stages are runs beside, whose exports are the next one's start."""
    status, output = command.finish(
        start(root, url, "--config=configs/soup.py", "--config.epochs=1")
    )
    assert status == 0, output
    assert {f"stages/{name}/export/config.json" for name in "ATEC"} <= set(store.files(url))
