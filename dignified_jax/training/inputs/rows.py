"""Reads a run's rows from all their sources and splits them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from dignified_jax import data
from dignified_jax.console.waiting import Waiting, counting, silent
from dignified_jax.data import formats
from dignified_jax.data.mixture import Mixture
from dignified_jax.data.rejected import BadRowPolicy
from dignified_jax.data.rows import stream_rows, validation_mask
from dignified_jax.data.schema.conversation import stripped
from dignified_jax.data.store.texts import Chosen, Spilled
from dignified_jax.embedded import resolve
from dignified_jax.training.config import ConfigError, DataConfig, TrainConfig

Rows = Sequence[data.PreferenceRow]


@dataclasses.dataclass(frozen=True)
class RowSplits:
    """The rows of each split.

    Attributes:
      train, validation, test: the rows; those of test are the validation rows where there are none
        of their own.
    """

    train: Rows
    validation: Rows
    test: Rows


def rejected_file(config: TrainConfig, workdir: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns where bad rows of a split or an anchor set go; None where they stop the run."""
    # Every process reads all rows; the first one's file is the one to look at.
    suffix = f".{jax.process_index()}" if jax.process_index() else ""
    skips = config.data.on_bad_row == "skip"
    return workdir / f"rejected_{name}.jsonl{suffix}" if skips else None


def read_splits(config: TrainConfig, workdir: pathlib.Path, show: Waiting = silent) -> RowSplits:
    """Reads and checks all rows, and splits validation rows off.

    Args:
      config: the run's.
      workdir: rejected rows are written here when `data.on_bad_row` is "skip".
      show: shows what is waited for.

    Raises:
      BadRowsError, ValueError, FileNotFoundError: see `dignified_jax.data`; bad rows of all sources
        together.
      ConfigError: there are no test rows, or a source is given under two names.
    """
    settings = config.data

    def policy(name: str) -> BadRowPolicy:
        return BadRowPolicy(settings.on_bad_row, rejected_file(config, workdir, name))

    def read(split: str, sources: tuple[str, ...]) -> list[Callable[[], Rows]]:
        named = (settings.dimension_of(sources, number) for number in range(len(sources)))
        forms = [formats.choose(settings.format, settings.dimensions, name) for name in named]
        return [
            functools.partial(stream_rows, resolve(source), form, policy(split), show)
            for source, form in zip(sources, forms, strict=True)
        ]

    def anchors() -> Iterator[Callable[[], Rows]]:
        for kind, source in (anchor.split(":", 1) for anchor in settings.anchors):
            options = {"dimensions": settings.dimensions, **dataclasses.asdict(policy(kind))}
            yield functools.partial(data.read_anchors, kind, source, **options)

    files(settings)  # told before anything is read
    rows = _together([*read("train", settings.train_sources), *anchors()], show)
    with show("choosing validation rows", share=True) as count:
        prompts = (stripped(row.prompt) for row in counting(rows, count, len(rows)))
        held_out = validation_mask(prompts, settings.validation_fraction, config.seed)
    train, validation = (Chosen(rows, np.flatnonzero(which)) for which in (~held_out, held_out))
    if settings.test_sources:
        return RowSplits(train, validation, _together(read("test", settings.test_sources), show))
    if not len(validation):
        raise ConfigError(
            "data.test is not given, and data.validation_fraction is 0: there are no rows for "
            "the final table; give either",
            "data.test",
        )
    return RowSplits(train, validation, validation)


def _together(reads: Iterable[Callable[[], Rows]], show: Waiting) -> Rows:
    """The rows of several sources, one after the other, or the bad rows of all of them."""
    rows: list[Rows] = []
    problems: list[data.RowProblem] = []
    for read in reads:
        try:
            rows.append(read())
        except data.BadRowsError as error:
            problems += error.problems
    if problems:
        raise data.BadRowsError(problems)
    if len(rows) == 1:
        return rows[0]
    with show("putting sources together", share=True) as count:
        every = itertools.chain.from_iterable(rows)
        return Spilled(counting(every, count, sum(map(len, rows))))


def files(settings: DataConfig) -> tuple[str, ...]:
    """Returns each source of training rows as its rows name it.

    Raises:
      ConfigError: one is given under two names.
    """
    sources = settings.train_sources
    found = tuple(map(resolve, sources))
    twice = [source for source, file in zip(sources, found, strict=True) if found.count(file) > 1]
    if twice:
        raise ConfigError(f"data.train must be distinct sources, found {' and '.join(twice)}")
    return found


def mixture(settings: DataConfig, of_examples: Sequence[str]) -> tuple[Mixture | None, str]:
    """Returns the shares of the training sources and a line on them; None where each row is used
    once an epoch.

    Args:
      settings: those of the data.
      of_examples: of each training example, the file of its row.

    Raises:
      ConfigError: a source has no example left, or is never drawn.
    """
    if not settings.weights:
        return None, ""
    sources = files(settings)
    number = {file: at for at, file in enumerate(sources)}
    try:
        made = Mixture(np.array([number[file] for file in of_examples]), settings.weights)
    except ValueError as error:
        raise ConfigError(f"data.weights of {', '.join(sources)}: {error}") from error
    parts = [
        f"{draws} of {source} ({draws / size:.2g} of its {size} examples)"
        for source, draws, size in zip(settings.train_sources, made.draws, made.sizes, strict=True)
    ]
    return made, f"an epoch draws {', '.join(parts)}"
