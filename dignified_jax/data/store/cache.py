"""Token ids on disk, under the digest of all that they depend on.

An entry is a directory of arrays and a file that says what they are; it gets its name when it is
whole. One that was altered since is told, and made anew. The entries used longest ago go when all
together exceed a limit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.data.store.arrays import ArrayFile, Arrays, Damaged, Notify
from dignified_jax.files import atomic

VARIABLE = "DIGNIFIED_JAX_CACHE"
_INDEX = "entry.json"
_PARTIAL = ".partial"
_ABANDONED_SECONDS = 24 * 3600


def token_directory(given: str | None = None) -> pathlib.Path:
    """Returns the directory of token ids.

    Args:
      given: a cache's directory; None means that of DIGNIFIED_JAX_CACHE, else dignified_jax in the
        user's directory of caches.
    """
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    cache = given or os.environ.get(VARIABLE) or pathlib.Path(home) / "dignified_jax"
    return pathlib.Path(cache) / "tokens"


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """Arrays, and what else there is to say of them.

    Attributes:
      arrays: by name; in files of the cache, or in memory.
      notes: a JSON object.
    """

    arrays: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]


class Cache:
    """The entries of a directory.

    Args:
      directory: made when the first entry is; None keeps nothing.
      most_bytes: of all entries together, but for those that this object gave.
      notify: shows a line to a person.
      in_memory: whether what is not kept is in memory, rather than in temporary files.
    """

    def __init__(
        self,
        directory: pathlib.Path | None,
        most_bytes: int,
        notify: Notify,
        in_memory: bool = True,
    ) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._notify = notify
        self._in_memory = in_memory
        self._used: set[str] = set()

    @property
    def keeps(self) -> bool:
        """Says whether entries are kept at all."""
        return self._directory is not None

    def find(self, key: str, count: ShowCount = uncounted) -> Entry | None:
        """Returns an entry, read through; None if there is none, or none that is whole.

        Args:
          key: of the entry.
          count: told how many of its bytes have been read.
        """
        if self._directory is None or not (self._directory / key).is_dir():
            return None
        place = self._directory / key
        try:
            entry = _read(place, count)
        except (OSError, ValueError, RecursionError) as error:
            self._notify(f"{place}: damaged ({' '.join(str(error).split())}); made anew")
            shutil.rmtree(place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):  # of others, or on a disk that can't be written
            os.utime(place / _INDEX)
        self._used.add(key)
        return entry

    def make(self, key: str, fill: Callable[[Arrays], Mapping[str, Any]]) -> Entry:
        """Returns a new entry, kept under its key where it can be.

        Args:
          key: of the entry.
          fill: adds to the arrays, and returns the entry's notes.
        """
        partial = self._begin(key)
        try:
            growing = Arrays(partial, self._notify)
            notes = json.loads(json.dumps(fill(growing)))
            arrays, files = growing.finish()
            if growing.in_files and self.keeps:
                self._keep(partial, key, files, notes)
            return Entry(arrays, notes)
        finally:
            if partial is not None:  # arrays in its files stay readable
                shutil.rmtree(partial, ignore_errors=True)

    def _begin(self, key: str) -> pathlib.Path | None:
        """A directory for an entry that is being made."""
        if self._directory is None:
            with contextlib.suppress(OSError):
                return None if self._in_memory else pathlib.Path(tempfile.mkdtemp(_PARTIAL))
            return None
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return pathlib.Path(tempfile.mkdtemp(_PARTIAL, f"{key}.", self._directory))
        except OSError as error:
            self._tell(error)
            return None

    def _keep(
        self,
        partial: pathlib.Path,
        key: str,
        files: Mapping[str, ArrayFile],
        notes: Mapping[str, Any],
    ) -> None:
        described = {name: dataclasses.asdict(file) for name, file in files.items()}
        try:
            index = {"files": described, "notes": notes}
            atomic.write_json(partial / _INDEX, {**index, "sha256": _digest(index)})
            partial.rename(self._directory / key)
        except OSError as error:
            # Another run may have made the same meanwhile.
            if not (self._directory / key).is_dir():
                self._tell(error)
            return
        self._used.add(key)
        _remove_oldest(self._directory, self._most_bytes, self._used)

    def _tell(self, error: OSError) -> None:
        self._notify(
            f"{self._directory}: can't be written ({error.strerror or error}), so token ids are "
            "not kept for the next start; set --config.data.cache"
        )


def sizes(directory: pathlib.Path) -> list[int]:
    """Returns the bytes of each entry of a directory."""
    return [size for _, size, _ in _entries(directory)]


def clear(directory: pathlib.Path) -> int:
    """Removes all entries of a directory; how many. Runs that use one go on."""
    return _remove_oldest(directory, 0, set())


def _read(place: pathlib.Path, count: ShowCount) -> Entry:
    index = json.loads((place / _INDEX).read_text(encoding="utf-8"))
    if not isinstance(index, dict) or index.pop("sha256", None) != _digest(index):
        raise Damaged(f"{_INDEX} is not what was written")
    arrays, done = {}, 0
    total = sum(file.stat().st_size for file in place.iterdir())

    def read(size: int) -> None:
        nonlocal done
        done += size
        count(done, total)

    for name, fields in index["files"].items():
        described = ArrayFile(fields["dtype"], tuple(fields["shape"]), fields["sha256"])
        file = place / f"{name}.bin"
        if math.prod(described.shape) or file.exists():
            described.check(file, read)
        arrays[name] = described.read(file)
    return Entry(arrays, index["notes"])


def _digest(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _entries(directory: pathlib.Path) -> list[tuple[float, int, pathlib.Path]]:
    """(when it was last used, bytes, where) of each entry, that used longest ago first."""
    found = []
    for index in directory.glob(f"*/{_INDEX}"):
        if not index.parent.name.endswith(_PARTIAL):
            with contextlib.suppress(OSError):  # another run removes it
                size = sum(file.stat().st_size for file in index.parent.iterdir())
                found.append((index.stat().st_mtime, size, index.parent))
    return sorted(found)


def _remove_oldest(directory: pathlib.Path, most_bytes: int, kept: set[str]) -> int:
    """Removes the entries used longest ago until the others fit, and what killed runs left."""
    for place in directory.glob(f"*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - place.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
    found = _entries(directory)
    total, removed = sum(size for _, size, _ in found), 0
    for _, size, place in found:
        if total > most_bytes and place.name not in kept:
            shutil.rmtree(place, ignore_errors=True)
            total, removed = total - size, removed + 1
    return removed
