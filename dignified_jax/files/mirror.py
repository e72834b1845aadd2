"""A run directory in a store, through a copy here: files are written here and then uploaded.

What appends, renames or reads back works on the copy as on any directory. `Mirror.publish` uploads
what changed since; it is called at every checkpoint and at the end, and a thread does so meanwhile.
A kill loses what was written after the last upload, as one of a machine loses its disk.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator

from dignified_jax.files import json_digest, lock, process, store, store_lock

UPLOAD_SECONDS = 30.0
_PREFIX = "dignified_jax-run-"
_COPY = re.compile(re.escape(_PREFIX) + r"([0-9a-f]{8})-(\d+)-.+")
# In the copy, for whoever looks for what is not copied.
_ORIGIN = ".store"
Notify = Callable[[str], None]


class Mirror:
    """Made by `opened`.

    Attributes:
      local: the copy; `publish` is told of nothing else.
      url: of the directory in the store.
    """

    def __init__(self, local: pathlib.Path, url: str, apart: Collection[str]) -> None:
        self.local, self.url = local, url
        self._apart = frozenset(apart)
        self._there: dict[str, tuple[int, int]] = {}
        self._lock: store_lock.Lock | None = None
        self._one = threading.Lock()

    def publish(self) -> None:
        """Uploads what changed since the last time, and removes what was removed here.

        Raises:
          BusyError: another run took the directory over.
          StoreError: the store does not take it; the rest is uploaded the next time.
        """
        if self._lock is None:
            return
        with self._one:
            self._lock.confirm()
            now = self._stamps()
            for name in sorted(self._there.keys() - now.keys()):
                store.remove(store.join(self.url, name))
                del self._there[name]
            for name in sorted(now, key=_order):
                if self._there.get(name) != now[name]:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        self._upload(name)
                        self._there[name] = now[name]

    def _upload(self, name: str) -> None:
        file = self.local / name
        file.stat()
        store.upload(file, store.join(self.url, name))

    def fill(self, apart: Collection[str] = ()) -> None:
        """Copies here what lies in the store, but for its large directories and those `apart`."""
        left = self._apart | set(apart)
        store.download(self.url, self.local, lambda name: _wanted(name, left))
        self._there = self._stamps()

    def _stamps(self) -> dict[str, tuple[int, int]]:
        stamps = {}
        for file in self.local.rglob("*"):
            name = file.relative_to(self.local).as_posix()
            with contextlib.suppress(FileNotFoundError):
                if _wanted(name, self._apart) and file.is_file():
                    status = file.stat()
                    stamps[name] = (status.st_mtime_ns, status.st_size)
        return stamps

    def lead(self, held: store_lock.Lock) -> None:
        """Makes this the process that uploads."""
        self._lock = held

    @contextlib.contextmanager
    def told(self, notify: Notify) -> Iterator[Notify]:
        """`notify`, and errors inside, that name the directory in the store and not the copy."""

        def named(text: str) -> str:
            return text.replace(str(self.local), self.url)

        try:
            yield lambda text: notify(named(text))
        except Exception as error:
            error.args = tuple(
                named(part) if isinstance(part, str) else part for part in error.args
            )
            if isinstance(error, OSError) and isinstance(error.filename, str):
                error.filename = named(error.filename)
            if hasattr(error, "__notes__"):
                error.__notes__ = [named(note) for note in error.__notes__]
            raise


@contextlib.contextmanager
def opened(
    url: str,
    notify: Notify,
    *,
    leads: bool = True,
    apart: Collection[str] = (),
    unread: Collection[str] = (),
) -> Iterator[Mirror]:
    """A copy of a directory in a store, which is locked, and uploaded in the end.

    Args:
      url: of the directory.
      notify: shows a line to a person.
      leads: whether this process holds the lock and uploads. Others of its job only read.
      apart: names of entries that are neither copied nor uploaded.
      unread: names of entries that processes which don't lead do not copy either.

    Raises:
      BusyError: another run is writing there.
      StoreError, ValueError: the store can't be used.
    """
    store.check(url)
    url = url.rstrip("/")
    _remove_leftovers()
    with contextlib.ExitStack() as stack:
        local = pathlib.Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{_machine()}-{os.getpid()}-"))
        stack.callback(shutil.rmtree, local, ignore_errors=True)
        (local / _ORIGIN).write_text(url, encoding="utf-8")
        mirror = Mirror(local, url, {*apart, store_lock.FILE, _ORIGIN})
        if not leads:
            mirror.fill(unread)
            yield mirror
            return
        store.files(url)  # before the lock, whose errors say less
        mirror.lead(stack.enter_context(store_lock.held(url, notify)))
        mirror.fill()
        with _uploading(mirror, notify):
            yield mirror


@contextlib.contextmanager
def workdir(
    directory: str, notify: Notify, apart: Collection[str] = ()
) -> Iterator[tuple[str, Notify]]:
    """A directory that one process of a command writes to, and who shows its lines.

    One here is as it is given; of one in a store it is the copy, as of `opened`.
    """
    if not store.is_url(directory):
        yield directory, notify
        return
    with opened(directory, notify, apart=apart) as copy, copy.told(notify) as named:
        yield str(copy.local), named


@contextlib.contextmanager
def _uploading(mirror: Mirror, notify: Notify) -> Iterator[None]:
    """Uploads now and then inside, and in the end, also where the work inside has failed."""
    stopped = threading.Event()

    def upload() -> None:
        failed = False
        while not stopped.wait(UPLOAD_SECONDS):
            try:
                mirror.publish()
                failed = False
            except (OSError, lock.BusyError) as error:
                if not failed:
                    notify(f"not uploaded yet: {error}")
                failed = True

    thread = threading.Thread(target=upload, name="store upload", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        stopped.set()
        thread.join()
        with contextlib.suppress(OSError, lock.BusyError):  # what went wrong first is what matters
            mirror.publish()
        raise
    stopped.set()
    thread.join()
    mirror.publish()


def origin(local: pathlib.Path) -> str | None:
    """Returns the directory in a store that a directory is the copy of; None for any other."""
    file = local / _ORIGIN
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _wanted(name: str, apart: Collection[str]) -> bool:
    parts = name.split("/")
    return parts[0] not in apart and not any(part.endswith(".partial") for part in parts)


def _order(name: str) -> tuple[int, bool, str]:
    """Sorts files of directories first and what says that they are whole last."""
    return -name.count("/"), name.endswith("config.json"), name


def _machine() -> str:
    return json_digest.digest(process.machine())[:8]


def _remove_leftovers() -> None:
    """Removes the copies of processes of this machine that were killed."""
    for directory in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        match = _COPY.fullmatch(directory.name)
        if match is None or match[1] != _machine() or int(match[2]) == os.getpid():
            continue
        if not directory.is_symlink() and not process.alive(int(match[2])):
            shutil.rmtree(directory, ignore_errors=True)
