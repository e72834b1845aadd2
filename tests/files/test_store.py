"""Directories of buckets: names, errors, copies. The stores are servers on the loopback."""

import importlib.util

import pytest

from dignified_jax.files import mirror, store
from dignified_jax.files.lock import BusyError

pytestmark = pytest.mark.wiring


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("az://bucket/run", r"expected a directory, gs://BUCKET/… or s3://BUCKET/…; other stores"),
        ("https://host/run", "expected a directory, gs://BUCKET"),
        ("s3://bucket", "expected s3://BUCKET/DIRECTORY, each part with a name"),
        ("gs:///run", "expected gs://BUCKET/DIRECTORY"),
        ("gs://bucket/a//b", "expected gs://BUCKET/DIRECTORY"),
        ("gs://bucket/a/../b", "no part . or .."),
        ("s3://bucket/seed=[0]", r"may have none of \* \? \[ \] #"),
    ],
)
def test_what_is_no_directory_of_a_store_is_refused(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        store.place(url)
    assert str(caught.value).startswith(f"{url}: ")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_missing_package_is_told_with_the_command(scheme, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as caught:
        store.check(f"{scheme}://bucket/run")
    assert str(caught.value).endswith(f"not installed: pip install 'dignified_jax[{scheme}]'")


@pytest.mark.parametrize("path", ["runs/a", "/runs/a", "c:/d", "a:b//c", "runs/a://b"])
def test_a_path_here_is_no_url(path):
    assert not store.is_url(path)
    assert store.join(path, "b", "c") == str(store.place(path) / "b" / "c")


def test_errors_are_a_line_with_the_directory_and_a_cure():
    with pytest.raises(store.StoreError) as caught, store.told("s3://bucket/run"):
        raise PermissionError("The AWS Access Key Id you provided\n does not exist (Forbidden)")
    assert str(caught.value) == (
        "s3://bucket/run: The AWS Access Key Id you provided does not exist (Forbidden); "
        "credentials are looked for as AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def test_a_bucket_that_is_not_there_is_named(bucket):
    scheme = bucket.partition("://")[0]
    with pytest.raises(store.StoreError, match="there is no bucket none; make it first"):
        mirror.opened(f"{scheme}://none/run", pytest.fail).__enter__()


def content(url):
    """Relative name -> text of what lies in the store, but for the lock."""
    names = [name for name in store.files(url) if name != ".lock"]
    return {name: (store.place(url) / name).read_text() for name in names}


def test_a_copy_is_uploaded_and_read_back(url):
    """What is appended, replaced and removed here is so there; the next one begins with it."""
    with mirror.opened(url, pytest.fail, apart=["checkpoints"]) as copy:
        (copy.local / "metrics.jsonl").write_text("1\n")
        (copy.local / "old").write_text("old")
        (copy.local / "model").mkdir()
        (copy.local / "model" / "config.json").write_text("{}")
        (copy.local / "checkpoints").mkdir()
        (copy.local / "checkpoints" / "here").write_text("stays here")
        (copy.local / "metrics.jsonl.12.partial").write_text("half")
        assert content(url) == {}
        copy.publish()
        assert content(url) == {"metrics.jsonl": "1\n", "old": "old", "model/config.json": "{}"}
        with (copy.local / "metrics.jsonl").open("a") as file:
            file.write("2\n")
        (copy.local / "old").unlink()
    assert not copy.local.exists()
    expected = {"metrics.jsonl": "1\n2\n", "model/config.json": "{}"}
    assert content(url) == expected
    (store.place(url) / "checkpoints" / "4").write_text("stays there")
    apart = {"apart": ["checkpoints"], "unread": ["model"]}
    with mirror.opened(url, pytest.fail, leads=False, **apart) as follower:
        files = {file.name for file in follower.local.iterdir()}
        assert files == {"metrics.jsonl", ".store"}
        (follower.local / "metrics.jsonl").write_text("never uploaded")
    with mirror.opened(f"{url}/", pytest.fail, apart=["checkpoints"]) as copy:
        assert (copy.local / "metrics.jsonl").read_text() == "1\n2\n"
        assert mirror.origin(copy.local) == url
        assert not (copy.local / "checkpoints").exists()
    assert content(url) == {**expected, "checkpoints/4": "stays there"}


def test_what_a_failed_run_wrote_is_uploaded_and_its_error_names_the_store(url):
    lines = []
    with (
        pytest.raises(ValueError) as caught,
        mirror.workdir(url, lines.append) as (directory, notify),
    ):
        file = store.place(directory) / "metrics.jsonl"
        file.write_text("1\n")
        notify(f"written: {file}")
        raise ValueError(f"{file}: is wrong")
    assert lines == [f"written: {url}/metrics.jsonl"]
    assert str(caught.value) == f"{url}/metrics.jsonl: is wrong"
    assert content(url) == {"metrics.jsonl": "1\n"}


def test_nothing_is_uploaded_where_another_run_took_over(url):
    with (
        pytest.raises(BusyError, match="another run took the directory over"),
        mirror.opened(url, pytest.fail) as copy,
    ):
        (copy.local / "metrics.jsonl").write_text("1\n")
        (store.place(url) / ".lock").write_text('{"holder": "process 1 on other"}\n')
        copy.publish()
    assert content(url) == {}


def test_a_directory_is_fetched_once(url):
    (store.place(url) / "a").write_text("1")
    (store.place(url) / "b" / "c").write_text("2")
    found = store.fetched(url)
    assert {file.name: file.read_text() for file in found.rglob("*") if file.is_file()} == {
        **{"a": "1", "c": "2"}
    }
    assert store.fetched(url) == found
    with pytest.raises(FileNotFoundError, match="/none: no such directory"):
        store.fetched(f"{url}/none")
