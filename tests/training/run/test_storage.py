"""What a file system that takes no more is told as."""

import errno
import logging
import os

import numpy as np
import pytest

from dignified_jax.training.run import quiet, storage

TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing local file "/disk/9/manifest.ocdbt": Failed writing: '
    '"/disk/9/manifest.ocdbt.__lock": Failed to write 115 bytes to file 11: %s [os_error_code]'
)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EIO]
)
def test_the_file_and_the_reason_are_named(number, tmp_path):
    reason = os.strerror(number)
    error = ValueError(TENSORSTORE % reason)
    assert storage.explained(error, tmp_path) == f"/disk/9/manifest.ocdbt: {reason}"
    error = OSError(number, reason, "/disk/a")
    assert storage.explained(error, tmp_path) == f"/disk/a: {reason}"
    error = OSError(number, reason)
    assert storage.explained(error, tmp_path) == f"{tmp_path}: {reason}"


def test_the_bytes_that_are_missing_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        storage.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 300})()
    )
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/a")
    tree = {"a": np.zeros(1000, np.float32), "b": np.zeros(2, np.float32)}
    assert storage.explained(error, tmp_path, tree) == (
        "/disk/a: No space left on device; a checkpoint takes up to 4,008 bytes, and 300 are free: "
        "3,708 are missing"
    )


def test_other_errors_are_left_alone(tmp_path):
    assert storage.explained(ValueError("its index names 3 of 4 arrays"), tmp_path) is None


def test_only_tracebacks_of_the_libraries_threads_are_silenced():
    def record(path, exc_info):
        return logging.LogRecord("absl", logging.ERROR, path, 1, "failed", (), exc_info)

    failed = (ValueError, ValueError("x"), None)
    with quiet.background():
        logger = logging.getLogger("absl")
        assert not logger.filter(record("/site-packages/orbax/checkpoint/a.py", failed))
        assert logger.filter(record("/site-packages/orbax/checkpoint/a.py", None))
        assert logger.filter(record("/home/me/mine.py", failed))
    assert logger.filter(record("/site-packages/orbax/checkpoint/a.py", failed))
