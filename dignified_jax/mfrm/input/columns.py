"""Columns of a table in memory or in a file. pandas and pyarrow are used only if handed in or
needed for the format."""

from __future__ import annotations

import csv
import gzip
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Sequence[Any]] | str | os.PathLike | Any


def read_columns(table: Table, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """Name -> values, of equal length, of the wanted columns.

    Raises:
      ValueError: for missing columns, columns of different lengths, an unknown kind of table.
      ImportError: for Parquet without pyarrow.
    """
    if isinstance(table, (str, os.PathLike)):
        return _from_file(pathlib.Path(table), wanted)
    if hasattr(table, "to_pydict") and hasattr(table, "column_names"):  # pyarrow
        _refuse_missing(table.column_names, wanted, "the table")
        return {name: table.column(name).to_pylist() for name in wanted}
    if isinstance(table, Mapping):
        names = list(table)
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):  # pandas
        names = list(table.columns)
    else:
        raise ValueError(
            "table must be a mapping of columns, a pandas or Arrow table or a path, found "
            f"{type(table).__name__}"
        )
    _refuse_missing(names, wanted, "the table")
    columns = {name: _as_list(table[name]) for name in wanted}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    return columns


def _from_file(path: pathlib.Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    suffixes = path.suffixes
    if suffixes[-1:] == [".parquet"]:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(f"{path} is a Parquet file: install pyarrow to read it") from error
        _refuse_missing(pyarrow.parquet.read_schema(path).names, wanted, str(path))
        return read_columns(pyarrow.parquet.read_table(path, columns=list(wanted)), wanted)
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if packed else suffixes)[-1:]
    if kind not in ([".csv"], [".tsv"]):
        raise ValueError(f"{path}: expected .csv, .tsv (also .gz) or .parquet")
    opened = gzip.open if packed else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="," if kind == [".csv"] else "\t")
        header = next(reader, [])
        _refuse_missing(header, wanted, str(path))
        places = [header.index(name) for name in wanted]
        columns: list[list[str]] = [[] for _ in wanted]
        for number, row in enumerate(filter(None, reader), start=1):
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, row {number}: {len(row)} values for {len(header)} columns"
                )
            for column, place in zip(columns, places, strict=True):
                column.append(row[place])
    return dict(zip(wanted, columns, strict=True))


def _refuse_missing(names: Sequence[str], wanted: Sequence[str], source: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; its columns are "
            f"{', '.join(map(repr, names))}"
        )


def _as_list(values: Any) -> list[Any]:
    """Python values, so that equal labels of different array types are the same label."""
    return values.tolist() if hasattr(values, "tolist") else list(values)
