"""Compiled programs on disk, so that a restart reads them instead of compiling again.

JAX never writes over an entry that is there, so a damaged one would be compiled anew at every
start, or another's program be run. Such entries are removed before they are looked for. The cache
is code that will be run: keep it where only you may write.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
from collections.abc import Callable, Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from dignified_jax.files import store
from dignified_jax.training.config import TrainConfig
from dignified_jax.training.run import cache_entries, devices

DIRECTORY = "compilation_cache"


def directory(config: TrainConfig) -> str:
    """The configured one, else JAX's own (JAX_COMPILATION_CACHE_DIR), else one in the workdir.

    Absolute, since JAX's keys of programs have the directory in them.
    """
    given = config.compilation_cache or jax.config.jax_compilation_cache_dir
    place = given or store.join(config.workdir, DIRECTORY)
    return place if store.is_url(place) else str(pathlib.Path(place).absolute())


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
    ours = jax.config.jax_enable_compilation_cache and not store.is_url(place)
    keeps_entries = ours and jax.process_index() == 0
    if ours:
        pathlib.Path(place).mkdir(parents=True, exist_ok=True)
        for folder in {directory(config), place}:
            if others_write(pathlib.Path(folder)):
                notify(
                    f"{folder}: others may write here, and what they write is run as your "
                    "program; make it yours alone (chmod go-w), or set --config.compilation_cache"
                )
    if keeps_entries and (count := cache_entries.remove_damaged(pathlib.Path(place))):
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
        if keeps_entries:
            with contextlib.suppress(OSError):  # a full disk is told by what the run loses
                cache_entries.record(pathlib.Path(place))


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
