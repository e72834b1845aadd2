"""One process at a time; where nothing can be locked, a note."""

import errno
import fcntl
import os

import pytest

from dignified_jax.files import lock


def test_a_lock_file_deleted_by_hand_lets_nobody_in(tmp_path):
    with lock.held(tmp_path, pytest.fail):
        (tmp_path / lock.FILE).unlink()
        with pytest.raises(lock.BusyError, match="another run is writing here"):
            lock.held(tmp_path, pytest.fail).__enter__()
    with lock.held(tmp_path, pytest.fail):
        assert (tmp_path / lock.FILE).read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_noted(number, tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    notes = []
    with lock.held(tmp_path, notes.append):
        pass
    assert notes == [f"{tmp_path}: its file system has no locks; start no second run here"]


def test_directories_that_cannot_be_locked_leave_the_file(tmp_path, monkeypatch):
    """As over NFS, where a lock needs a descriptor open for writing."""
    flock = fcntl.flock

    def files_only(descriptor, operation):
        if os.fstat(descriptor).st_mode & 0o040000:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with lock.held(tmp_path, pytest.fail), pytest.raises(lock.BusyError):
        lock.held(tmp_path, pytest.fail).__enter__()
