"""Entries of the compilation cache are read only as they were written.

JAX writes an entry in place, so a killed run may leave half of one, and reads whatever lies under
its name: with another entry's content it would run another program. A file beside the entries
has their digests. One that can't be read to its end, or changed since, is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import pathlib
import zlib
from collections.abc import Callable

from dignified_jax.files import atomic

DIGESTS_FILE = ".digests.json"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# Name of an entry -> its digest, and its `_stamp` when that was taken.
_Known = dict[str, tuple[str, list[int]]]


def remove_damaged(directory: pathlib.Path) -> int:
    """Removes entries that are not whole, or not those of their name; how many.

    Only entries that were touched since the last call here or of `record` are read, so that a
    large cache costs nothing. One that another process is writing right now may go too: that
    process has its program already.
    """
    known, damaged = _read_through(directory)
    for name in damaged:
        (directory / name).unlink(missing_ok=True)
    _write(directory, known)
    return len(damaged)


def record(directory: pathlib.Path) -> None:
    """Takes the digests of new entries; none is removed, since another run may be writing it."""
    _write(directory, _read_through(directory)[0])


def _read_through(directory: pathlib.Path) -> tuple[_Known, list[str]]:
    """(whole entries, names of those that are damaged)."""
    before, known, damaged = _read(directory), {}, []
    for entry in directory.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # removed by another run
            stamp = _stamp(entry)  # before the content: a change while it is read is seen later
            digest, former_stamp = before.get(entry.name, (None, None))
            if digest is None or stamp != former_stamp:
                content = entry.read_bytes()
                found = hashlib.sha256(content).hexdigest()
                if found != (digest or found) or not _whole(content):
                    damaged.append(entry.name)
                    continue
                digest = found
            known[entry.name] = digest, stamp
    return known, damaged


def _stamp(entry: pathlib.Path) -> list[int]:
    """Changes with every write, and when the file gets another name or is replaced."""
    status = entry.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _read(directory: pathlib.Path) -> _Known:
    try:
        listed = json.loads((directory / DIGESTS_FILE).read_text(encoding="utf-8"))
        return {name: (str(digest), list(stamp)) for name, (digest, stamp) in listed.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # none yet, or damaged: the entries are read anew


def _write(directory: pathlib.Path, known: _Known) -> None:
    if known != _read(directory):
        atomic.write_json(directory / DIGESTS_FILE, known)


def _whole(content: bytes) -> bool:
    """Returns whether an entry, compressed as JAX does it, can be decompressed."""
    if not content.startswith(_ZSTANDARD):
        return _decompresses(content, zlib.decompress, zlib.error)
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        return True  # JAX does not read it either
    return _decompresses(content, zstandard.ZstdDecompressor().decompress, zstandard.ZstdError)


def _decompresses(
    content: bytes, decompress: Callable[[bytes], bytes], error: type[Exception]
) -> bool:
    try:
        decompress(content)
    except error:
        return False
    return True
