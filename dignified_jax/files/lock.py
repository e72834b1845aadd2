"""A directory that one process at a time may write to; the kernel frees it if that dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

FILE = ".lock"
# What a file system without such locks answers, among them network and FUSE ones.
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


class BusyError(RuntimeError):
    """Another process holds the directory."""


@contextlib.contextmanager
def held(directory: pathlib.Path, notify: Callable[[str], None]) -> Iterator[None]:
    """Holds the directory, and the file in it that says who does.

    The directory itself is locked too, so that a file deleted by hand lets nobody in.

    Args:
      directory: must be there.
      notify: shows a line to a person, if the file system can't lock.

    Raises:
      BusyError: another process holds it; says which.
      OSError: the file can't be written; names it.
    """
    name = directory / FILE
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(name.open("a+", encoding="utf-8"))
        itself = os.open(directory, os.O_RDONLY)
        stack.callback(os.close, itself)
        # Where directories can't be locked, as over NFS, the file alone says it.
        results = [_acquired(itself, {*_UNSUPPORTED, errno.EBADF}), _acquired(file.fileno())]
        if False in results:
            file.seek(0)
            holder = file.read(200).strip() or "unknown"
            raise BusyError(
                f"{directory}: another run is writing here ({holder}); wait for it, or choose "
                "another directory"
            )
        if results[1] is None:
            notify(f"{directory}: its file system has no locks; start no second run here")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _acquired(descriptor: int, unsupported: set[int] = _UNSUPPORTED) -> bool | None:
    """Returns whether the lock was taken; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in unsupported:
            return None
        raise
    return True


@contextlib.contextmanager
def held_file(name: pathlib.Path) -> Iterator[None]:
    """Holds a file made for that, which is removed in the end.

    Raises:
      BusyError: another process holds it.
      OSError: it can't be made; names it.
    """
    with name.open("a+", encoding="utf-8") as file:
        free = _acquired(file.fileno()) is not False
        # A holder that is just leaving may have removed the file that was opened here.
        if not free or not name.exists() or name.stat().st_ino != os.fstat(file.fileno()).st_ino:
            raise BusyError(f"{name}: another process is writing the file that this one guards")
        try:
            yield
        finally:
            name.unlink(missing_ok=True)
