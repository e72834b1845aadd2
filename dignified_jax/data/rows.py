"""Reading preference rows from any source, and splitting them by prompt."""

import functools
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dignified_jax.console.waiting import ShowCount, Waiting, silent
from dignified_jax.data import formats
from dignified_jax.data.formats.columns import Columns
from dignified_jax.data.rejected import BadRowPolicy, CheckedRecord
from dignified_jax.data.schema import (
    DIMENSIONS,
    RESPONSES,
    BadRowsError,
    PreferenceRow,
    RowProblem,
    shorten,
)
from dignified_jax.data.schema.conversation import stripped
from dignified_jax.data.sources import RawRecord, stream_records

__all__ = [
    "DIMENSIONS",
    "RESPONSES",
    "BadRowsError",
    "PreferenceRow",
    "RowProblem",
    "read_rows",
    "split_validation",
    "stream_rows",
    "validation_mask",
]


def read_rows(
    source: str | Path,
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    format: str = "rejects",
    dimension: str | None = None,
    on_bad_row: str = "error",
    rejected_path: str | Path | None = None,
) -> list[PreferenceRow]:
    """Reads and checks every row of a data set.

    Args:
      source: a .jsonl, .json or .csv file (each also as .gz) or a .parquet file, a directory that
        `datasets.load_dataset` reads, or a hub id "owner/name@revision:configuration:split" of
        which all but the name may be left out ("owner/name:split"); the split is then "train".
      dimensions: names of 1 to 16 dimensions.
      format: "rejects": golden, mask and a column "reject_NAME" of each dimension, which some row
        needs to have unless the dimensions are the default ones. "pairs": prompt, chosen, rejected
        and dimension; pairs of equal prompt and chosen are joined into one row.
      dimension: that of pairs which don't name one; not needed where `dimensions` has one name.
      on_bad_row: "error", or "skip" to set bad rows aside in `rejected_path`.
      rejected_path: JSON lines {"file", "row", "problems", "raw"}; with "skip" only.

    Returns:
      The rows in the source's order (joined pairs where the first of them stood). Texts are kept
      as they stand, outer spaces included.

    Raises:
      BadRowsError: names every bad row (all of them), a table without a required column, a reject
        with text of no dimension, a dimension without a column, or a source without rows. With
        "skip": bad rows only if no good one is left.
      FileNotFoundError: no such file or data set.
      ValueError: an unknown kind of file, compressed data that is cut or expands more than a
        hundredfold (256 MiB are always free), contradictory arguments, or names that are none
        (`schema.check_dimensions`).

    Warns:
      UserWarning: columns that are not used, and, with "skip", the number of rows set aside.
    """
    form = formats.choose(format, dimensions, dimension)
    return list(stream_rows(source, form, BadRowPolicy(on_bad_row, rejected_path)))


def stream_rows(
    source: str | Path, form: formats.Format, policy: BadRowPolicy, show: Waiting = silent
) -> Sequence[PreferenceRow]:
    """Returns the rows of `read_rows`; of more than some ten thousand, most are on disk.

    Pairs that stand far apart wait in memory for those that they are joined with.

    Args:
      source: as there.
      form: the format of its records.
      policy: of bad rows.
      show: shows what is waited for.

    Raises, warns:
      As there.
    """
    read = functools.partial(stream_records, source, form.required)

    def looked_through() -> Iterator[RawRecord]:
        with show(f"looking through {source}", share=True) as count:
            yield from read(count=count)

    columns = Columns(form.known, looked_through)

    def checked(count: ShowCount) -> Iterator[CheckedRecord]:
        for record in read(count=count):
            columns.add(record)
            row, problems = form.validate(record, columns)
            yield CheckedRecord(record, [] if row is None else [row], problems)
        form.check_columns(str(source), columns)  # first of all that may be wrong with it
        if columns.unused:
            unused = shorten(columns.unused, 400)
            warnings.warn(f"{source}: columns not used: {unused}", stacklevel=2)

    with show(f"reading {source}", share=True) as count:
        rows = policy.apply(source, checked(count))
    with show(f"joining pairs of {source}", share=True) as count:
        return form.finish(rows, count)


def split_validation(
    rows: Sequence[PreferenceRow], fraction: float, seed: int
) -> tuple[list[PreferenceRow], list[PreferenceRow]]:
    """Carve a validation set off by prompt: rows of equal prompts (stripped) stay together.

    Which prompts go depends on the prompts' texts and the seed alone, not on row order, so
    adding or shuffling rows moves few of them.

    Args:
      rows: the rows to split.
      fraction: share of the distinct prompts for validation, in [0, 1). 0 gives none; above
        0, at least one prompt goes and at least one stays.
      seed: another seed, another choice.

    Returns:
      (train, validation), each in the order of `rows`.

    Raises:
      ValueError: `fraction` is outside [0, 1), or there are too few prompts to split.
    """
    chosen = validation_mask((stripped(row.prompt) for row in rows), fraction, seed)
    train = [row for row, goes in zip(rows, chosen, strict=True) if not goes]
    validation = [row for row, goes in zip(rows, chosen, strict=True) if goes]
    return train, validation


def validation_mask(prompts: Iterable[str], fraction: float, seed: int) -> np.ndarray:
    """Returns (row,) bool: which rows `split_validation` keeps for validation.

    Args:
      prompts: of each row, stripped (`schema.conversation.stripped`).
      fraction, seed: as there.

    Raises:
      ValueError: as there.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction: expected a number in [0, 1), found {fraction!r}")
    of_row = [_rank(prompt, seed) for prompt in prompts]
    if fraction == 0:
        return np.zeros(len(of_row), bool)
    ranks = sorted(set(of_row))
    if len(ranks) < 2:
        raise ValueError(
            f"a validation set (fraction {fraction}) needs at least 2 distinct prompts, found "
            f"{len(ranks)}; add rows, or set data.validation_fraction to 0"
        )
    count = min(max(round(fraction * len(ranks)), 1), len(ranks) - 1)
    chosen = set(ranks[:count])
    return np.array([rank in chosen for rank in of_row], bool)


def _rank(prompt: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()
