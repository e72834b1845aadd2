"""Content of a run's sources of rows, which several processes have to have alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dignified_jax.cluster import members
from dignified_jax.console.waiting import Waiting, silent
from dignified_jax.data.store import origin
from dignified_jax.embedded import resolve
from dignified_jax.training.config import DataConfig
from dignified_jax.training.inputs import spread

Contents = Mapping[str, tuple[str, origin.Content | None]]
"""Source, as it is named here -> its file, and its content where that is known."""
_SMALL = 8  # pieces of a file that every process reads whole: 128 MiB


def of_sources(settings: DataConfig, show: Waiting = silent, compared: bool = False) -> Contents:
    """Returns the content of each source of rows.

    Args:
      settings: those of the data.
      show: shows what is waited for.
      compared: whether several processes call this. The first one reads all, and its files and
        contents are those of all; the others read small files, and a share of large ones, to
        compare them. Their paths may be others.

    Raises:
      ConfigError: this process has other files than the first one, in what it reads of them.
    """
    names = dict.fromkeys((*settings.train_sources, *settings.test_sources))
    files = [resolve(name) for name in names]
    wanted = _of_this_process if compared else origin.every_piece
    with show("looking for changes in the rows", share=True) as count:
        found = list(zip(files, origin.contents(files, count, wanted), strict=True))
    if compared:
        found = _of_first(dict(zip(names, found, strict=True)))
    return dict(zip(names, found, strict=True))


def _of_this_process(number: int, pieces: int) -> bool:
    """Says that this process reads a piece of a file."""
    member = members.current()
    if member.index == 0 or pieces <= _SMALL:
        return True
    return number % (member.count - 1) == member.index - 1


def _of_first(here: Contents) -> list[tuple[str, origin.Content | None]]:
    """The file and content of each source in the first process."""
    told = spread.same([[file, content and content.files] for file, content in here.values()])
    first = [(file, None if of is None else origin.Content.of(of)) for file, of in told]
    if not members.is_first():
        mine = [content for _, content in here.values()]
        compared = [
            (file, content.read_by(own) if content and own else content)
            for (file, content), own in zip(first, mine, strict=False)
        ]
        members.current().compare(
            "inputs",
            dict(_described(here, [*compared, *first[len(mine) :]])),
            dict(_described(here, list(here.values()))),
        )
    return first


def _described(
    names: Contents, found: list[tuple[str, origin.Content | None]]
) -> Iterator[tuple[str, str]]:
    labels = [*names, *map(str, range(len(names), len(found)))]
    for name, (file, content) in zip(labels, found, strict=False):
        yield f"rows of {name}", content.digest()[:16] if content else f"no file {file}"
