"""A file is whole, the former one, or not there."""

import errno
import json
import os
import subprocess
import sys

import pytest

from dignified_jax.files import atomic


def test_a_failed_write_leaves_the_former_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "a.json"
    atomic.write_json(file, {"a": 1})
    with pytest.raises(RuntimeError, match="halfway"), atomic.replacing(file) as partial:
        partial.write_text("{")
        raise RuntimeError("halfway")
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_is_told_with_the_files_name(tmp_path, monkeypatch):
    """`write` fails without one, and where it was open it is the partial file's."""

    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(type(tmp_path), "write_text", full)
        atomic.write_text(tmp_path / "a.txt", "text")
    assert (caught.value.errno, caught.value.filename) == (
        errno.ENOSPC,
        str(tmp_path / "a.txt"),
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere/a\.json'$"):
        atomic.write_json(tmp_path / "nowhere" / "a.json", {})


def test_what_killed_writers_left_is_removed(tmp_path):
    """And nothing else: not of those that live, nor what only looks alike."""
    (tmp_path / "model" / "deeper").mkdir(parents=True)
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    dead = [tmp_path / f"a.json.{killed.pid}.partial", tmp_path / f"b.{os.getpid()}.partial"]
    dead += [tmp_path / "model" / f"c.{killed.pid}.partial", tmp_path / f"d.{2**70}.partial"]
    kept = [tmp_path / f"a.json.{os.getppid()}.partial", tmp_path / "e.1.partial"]
    kept += [tmp_path / name for name in ("notes.partial", "x.y.partial", "z.12.partial.txt")]
    kept += [tmp_path / "model" / "deeper" / f"f.{killed.pid}.partial"]
    for file in (*dead, *kept):
        file.write_text("half")
    folder = tmp_path / f"export.{killed.pid}.partial"
    folder.mkdir()
    atomic.remove_leftovers(tmp_path)
    assert not any(file.exists() for file in dead)
    assert all(file.exists() for file in (*kept, folder))
