"""Compiled programs on disk, so that a restart reads them instead of compiling again.

JAX writes an entry in place, so a killed run may leave half of one; it then warns and compiles at
every start, for it never writes over an entry that is there. Here such entries are removed before
they are looked for. The cache is code that will be run: keep it where only you may write.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import stat
import zlib
from collections.abc import Callable, Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import devices
from dignified_jax.training.run import directory as run_directory

DIRECTORY = "compilation_cache"
# Entries that were written before this file was touched have been read through.
_CHECKED = ".checked"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def directory(config: TrainConfig) -> str:
    """The configured one, else JAX's own (JAX_COMPILATION_CACHE_DIR), else one in the workdir.

    Absolute, since JAX's keys of programs have the directory in them.
    """
    given = config.compilation_cache or jax.config.jax_compilation_cache_dir
    place = given or str(run_directory.path(config) / DIRECTORY)
    return place if "://" in place else str(pathlib.Path(place).absolute())


@contextlib.contextmanager
def used(config: TrainConfig, notify: Callable[[str], None]) -> Iterator[None]:
    """Every program compiled meanwhile, however small, is read from the cache or written to it.

    On CPUs it is a folder of the directory for each number of cores.

    JAX_ENABLE_COMPILATION_CACHE=false in the environment turns that off. JAX's own settings are
    as before in the end.

    Args:
      config: the run's.
      notify: shows a line to a person.

    Raises:
      OSError: the directory can't be made.
    """
    place = directory(config)
    if jax.default_backend() == "cpu":
        # JAX's keys do not have the number of cores, which the programs are made for.
        place += f"/{devices.cpu_cores()}_cores"
    # A bucket ("gs://...") is left to JAX.
    if jax.config.jax_enable_compilation_cache and "://" not in place:
        pathlib.Path(place).mkdir(parents=True, exist_ok=True)
        for folder in {directory(config), place}:
            if others_write(pathlib.Path(folder)):
                notify(
                    f"{folder}: others may write here, and what they write is run as your "
                    "program; make it yours alone (chmod go-w), or set --config.compilation_cache"
                )
        count = remove_damaged(pathlib.Path(place)) if jax.process_index() == 0 else 0
        if count:
            notify(f"{place}: removed {count} damaged entries, whose programs are compiled again")
    settings = {
        "jax_compilation_cache_dir": place,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    _configure(settings)
    try:
        yield
    finally:
        _configure(before)


def others_write(directory: pathlib.Path) -> bool:
    """Returns whether someone else than this user and root may put files into a directory."""
    status = directory.stat()
    if status.st_uid not in (os.getuid(), 0):
        return True
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid != os.getgid()
    return bool(by_group or status.st_mode & stat.S_IWOTH)


def _configure(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # else the directory of the first use stays


def remove_damaged(directory: pathlib.Path) -> int:
    """Removes entries that can't be read to their end; how many.

    Only entries younger than the last check are read, so that a large cache costs nothing. One
    that another process is writing right now may go too: that process has its program already.
    """
    marker = directory / _CHECKED
    since = marker.stat().st_mtime_ns if marker.exists() else 0
    marker.touch()  # before the check: what is written meanwhile is for the next one
    count = 0
    for entry in directory.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # removed by another run
            if entry.stat().st_mtime_ns >= since and not _whole(entry.read_bytes()):
                entry.unlink()
                count += 1
    return count


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
