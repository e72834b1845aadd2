"""Columns of a table in memory or in a file. No table package is imported unless it is needed."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from dignified_jax.mfrm.input.files import columns_of_records, plain, read_file, refuse_columns


class Frame(Protocol):
    """A data frame of pandas, polars or Hugging Face datasets."""

    def __getitem__(self, name: str, /) -> Iterable[object]: ...


TableLike = (
    Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]] | Frame | str | os.PathLike
)


def read_columns(table: TableLike, wanted: Sequence[str]) -> dict[str, list[object]]:
    """Name -> values, of equal length, of the wanted columns.

    Raises:
      ValueError: for missing or doubled columns, columns of different lengths, an unknown kind of
        table, a damaged file.
      ImportError: for Parquet without pyarrow.
    """
    if isinstance(table, (str, os.PathLike)):
        return read_file(pathlib.Path(table), wanted)
    source = "the table"
    if hasattr(table, "collect") and hasattr(table, "collect_schema"):  # lazy polars
        table = table.collect()
    if isinstance(table, Mapping):
        names = list(table)
    elif hasattr(table, "column_names"):  # pyarrow, Hugging Face datasets
        names = list(table.column_names)
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):  # pandas, polars
        names = list(table.columns)
    elif isinstance(table, Sequence) and all(isinstance(row, Mapping) for row in table):
        if not table:
            raise ValueError("the table has no rows")
        return columns_of_records(table, wanted, source)
    else:
        raise ValueError(
            "table must be a mapping of columns, a list of mappings, a pandas, polars, Arrow or "
            f"Hugging Face table or a path, found {type(table).__name__}"
        )
    refuse_columns(names, wanted, source)
    columns = {name: _as_list(table[name]) for name in wanted}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    return columns


def _as_list(values: object) -> list[object]:
    """Python values, so that equal labels of different array types are the same label."""
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(values, method):
            return getattr(values, method)()
    return list(map(plain, values))
