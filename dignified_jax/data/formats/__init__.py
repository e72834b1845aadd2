"""Formats of rows: the columns of each, checked into rows of preferences."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dignified_jax.console.waiting import ShowCount
from dignified_jax.data.formats import pairs, rejects
from dignified_jax.data.formats.columns import Columns
from dignified_jax.data.formats.joining import join
from dignified_jax.data.schema import PreferenceRow, RowProblem, check_dimensions
from dignified_jax.data.sources import RawRecord

FORMATS = ("rejects", "pairs")


@dataclass(frozen=True)
class Format:
    """One format, for one set of dimensions.

    Attributes:
      required: columns that a table must have.
      known: columns that are used.
      check_columns: takes (source, columns of all records); raises BadRowsError where these
        contradict the dimensions.
      validate: takes (record, columns of all records); a record to its row and no problems, or
        None and its problems.
      finish: takes (rows of a source, a function to count them with); the rows that are used.
    """

    required: tuple[str, ...]
    known: tuple[str, ...]
    check_columns: Callable[[str, Columns], None]
    validate: Callable[[RawRecord, Columns], tuple[PreferenceRow | None, list[RowProblem]]]
    finish: Callable[[Sequence[PreferenceRow], ShowCount], Sequence[PreferenceRow]]


def choose(name: str, dimensions: Sequence[str], dimension: str | None = None) -> Format:
    """Returns a format by its name.

    Args:
      name: one of `FORMATS`.
      dimensions: names of the set that the data are about.
      dimension: with "pairs", that of pairs which don't name one; of a set of one, that one.

    Raises:
      ValueError: an unknown format or dimension, or a dimension where rows name theirs; names that
        are none (`schema.check_dimensions`).
    """
    dimensions = check_dimensions(dimensions)
    if name not in FORMATS:
        raise ValueError(f"format: expected one of {FORMATS}, found {name!r}")
    if name == "rejects":
        if dimension is not None:
            raise ValueError(
                f"dimension: expected none with format 'rejects', whose columns name dimensions, "
                f"found {dimension!r}"
            )
        given = {"dimensions": dimensions}
        return Format(
            rejects.REQUIRED_COLUMNS,
            rejects.known_columns(dimensions),
            functools.partial(rejects.check_columns, **given),
            functools.partial(rejects.validate, **given),
            lambda rows, count: rows,
        )
    if dimension is not None and dimension not in dimensions:
        raise ValueError(f"dimension: expected one of {', '.join(dimensions)}, found {dimension!r}")
    if dimension is None and len(dimensions) == 1:
        dimension = dimensions[0]
    given = {"dimensions": dimensions, "dimension": dimension}
    return Format(
        pairs.REQUIRED_COLUMNS,
        pairs.COLUMNS,
        functools.partial(pairs.check_columns, **given),
        functools.partial(pairs.validate, **given),
        join,
    )
