"""Long tables of ratings, ours or anyone's, and the dimension of each of their rubric items."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping

from dignified_jax import mfrm
from dignified_jax.console.labels import clip
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.evaluation.scores.calibration import ScoresError
from dignified_jax.mfrm.input.columns import TableLike, read_columns
from dignified_jax.mfrm.input.levels import as_label
from dignified_jax.mfrm.input.scores import is_missing

SINGLE = "score"
"""The dimension of items that nothing else tells one of."""


@dataclasses.dataclass(frozen=True)
class RatedItems:
    """Ratings to score.

    Attributes:
      ratings: as `mfrm.fit` takes them.
      dimension_of: rubric item -> dimension.
      groups: name -> dimensions.
    """

    ratings: mfrm.Ratings
    dimension_of: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]


def read_ratings(file: TableLike, rubric: Rubric | None = None) -> RatedItems:
    """Reads a table with columns model, question, judge, rubric and score (0 or 1).

    An item's dimension is that of the table's column `dimension`, where there is one; else that
    of the rubric, where it has all items; else `SINGLE`.

    Args:
      file: what `mfrm.from_long` reads: path of a CSV, JSON Lines (also .gz) or Parquet file, or
        a table.
      rubric: whose groups and order of dimensions are kept.

    Raises:
      ScoresError: an item is of two dimensions, or of none where others have one.
      ValueError: as `mfrm.from_long`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the notes, which the report shows
        ratings = mfrm.from_long(file)
    items = [str(label) for label in ratings.labels["rubric"]]
    known = {} if rubric is None else {item.name: item.dimension for item in rubric.items}
    named = _named(file)
    if named:
        found = {item: named[item] for item in items}
    elif set(items) <= set(known):
        found = {item: known[item] for item in items}
    else:
        found = dict.fromkeys(items, SINGLE)
    order = () if rubric is None else rubric.dimensions
    ranked = sorted(found, key=lambda item: (found[item] not in order, _place(order, found[item])))
    groups = {} if rubric is None else dict(rubric.groups)
    return RatedItems(ratings, {item: found[item] for item in ranked}, groups)


def _named(file: TableLike) -> dict[str, str]:
    """The items' dimensions by the table itself; empty where it has no such column."""
    try:
        columns = read_columns(file, ["rubric", "dimension"])
    except ValueError as error:
        if "no column" not in str(error):
            raise
        return {}
    found: dict[str, str] = {}
    for item, dimension in zip(columns["rubric"], columns["dimension"], strict=True):
        item = str(as_label(item))  # as the ratings have it
        if is_missing(dimension):
            raise ScoresError(
                f"{_place_of(file)}rubric item {clip(item)}: expected a dimension in every row, "
                "found none in one"
            )
        dimension = str(as_label(dimension))
        if found.setdefault(item, dimension) != dimension:
            raise ScoresError(
                f"{_place_of(file)}rubric item {clip(item)}: expected one dimension, found "
                f"{clip(found[item])} and {clip(dimension)}"
            )
    return found


def _place_of(file: TableLike) -> str:
    return f"{file}: " if isinstance(file, str | os.PathLike) else ""


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else 0
