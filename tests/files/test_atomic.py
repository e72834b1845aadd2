"""A file is whole, the former one, or not there."""

import errno
import json
import os

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
