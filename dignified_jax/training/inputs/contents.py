"""Content of a run's sources of rows, which several processes have to have alike."""

from __future__ import annotations

from collections.abc import Mapping

from dignified_jax.cluster import members
from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.data.store import origin
from dignified_jax.embedded import resolve
from dignified_jax.training.config import DataConfig
from dignified_jax.training.inputs import spread

Contents = Mapping[str, tuple[str, origin.Content | None]]
"""Source, as it is named -> its file, and its content where that is known."""
_SMALL = 8  # pieces of a file that every process reads whole: 128 MiB


def of_sources(settings: DataConfig, show: Waiting = silent, compared: bool = False) -> Contents:
    """Returns the content of each source of rows.

    Args:
      settings: those of the data.
      show: shows what is waited for.
      compared: whether several processes call this. The first one reads all, and its contents are
        those of all; the others read small files, and a share of large ones, to compare them.

    Raises:
      ConfigError: this process has other files than the first one, in what it reads of them.
    """
    names = dict.fromkeys((*settings.train_sources, *settings.test_sources))
    files = [resolve(name) for name in names]
    wanted = _of_this_process if compared else origin.every_piece
    with show("looking for changes in the rows", share=True) as count:
        found = zip(files, origin.contents(files, count, wanted), strict=True)
    here = dict(zip(names, found, strict=True))
    if not compared:
        return here
    first = _of_first(here)
    if not members.is_first():
        told = {
            name: (file, content and here[name][1] and content.read_by(here[name][1]))
            for name, (file, content) in first.items()
        }
        members.current().compare("inputs", _described(told), _described(here))
    return first


def _of_this_process(number: int, pieces: int) -> bool:
    """Says that this process reads a piece of a file."""
    member = members.current()
    if member.index == 0 or pieces <= _SMALL:
        return True
    return number % (member.count - 1) == member.index - 1


def _of_first(here: Contents) -> Contents:
    told = spread.same(
        {name: [f, content and content.files] for name, (f, content) in here.items()}
    )
    return {
        name: (file, None if files is None else origin.Content.of(files))
        for name, (file, files) in told.items()
    }


def _described(contents: Contents) -> dict[str, str]:
    return {
        f"rows of {name}": f"{file}, {content.digest()[:16] if content else 'not here'}"
        for name, (file, content) in contents.items()
    }
