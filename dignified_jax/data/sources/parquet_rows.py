"""Records of Parquet, read in batches within a bound.

Equal cells are stored once in a file and become a cell each in memory, so neither its size nor
its own account of it bounds the work: texts are left in their dictionaries and counted first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dignified_jax.console.waiting import ShowCount
from dignified_jax.data.sources.expansion import CELL_BYTES, RECORD_BYTES, Expansion
from dignified_jax.data.sources.record import RawRecord, check_header

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_BATCH_ROWS = 1024


def parquet_records(
    name: str, path: Path, required: Sequence[str], count: ShowCount
) -> Iterator[RawRecord]:
    """Yields a file's records.

    Args:
      name: of the file, for messages.
      path: of the file.
      required: columns that it must have.
      count: told how many rows have been read.

    Raises:
      ValueError: it can't be read, or expands too far.
      BadRowsError: a required column is missing, or one stands twice.
    """
    import pyarrow
    import pyarrow.parquet

    expansion = Expansion(name, path)
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_header(name, file.schema_arrow.names, required)
            metadata = file.metadata
            stored = _check_metadata(metadata, expansion)
            rows = max(1, min(_BATCH_ROWS, expansion.most // max(1, stored)))
            texts = _text_columns(metadata)
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=rows):
                count(number, metadata.num_rows)
                for columns in _batch_objects(batch, expansion):
                    number += 1
                    yield RawRecord(name, number, columns, columns)
    except (pyarrow.ArrowException, OSError) as error:
        line = " ".join(str(error).split())[:300]
        raise ValueError(f"{name}: not a readable parquet file: {line}") from error


def _check_metadata(metadata: pyarrow.parquet.FileMetaData, expansion: Expansion) -> int:
    """Bytes of all columns before compression; refuses a file whose objects alone are too many."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    cells = sum(max(chunk.num_values, 0) for chunk in chunks)
    objects = metadata.num_rows * RECORD_BYTES + cells * CELL_BYTES
    expansion.add(objects, f"{metadata.num_rows} rows, {cells} cells")
    stored = sum(max(chunk.total_uncompressed_size, 0) for chunk in chunks)
    if objects + stored > expansion.most:  # not counted: its cells will be
        expansion.add(stored, f"{metadata.num_rows} rows, {stored} bytes before compression")
    return stored


def _text_columns(metadata: pyarrow.parquet.FileMetaData) -> list[str]:
    """Columns of texts that stand beside each other, not inside lists."""
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY"
        and column.converted_type != "DECIMAL"
        and column.max_repetition_level == 0
        and column.path == column.name
    ]


def _batch_objects(batch: pyarrow.RecordBatch, expansion: Expansion) -> Iterator[dict[str, Any]]:
    columns = [_cells(column, expansion) for column in batch.columns]
    for cells in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, cells, strict=True))


def _cells(column: pyarrow.Array, expansion: Expansion) -> list[object]:
    """A column's cells; equal texts of a dictionary are one object, but count each."""
    import pyarrow

    if not pyarrow.types.is_dictionary(column.type):
        expansion.add(column.nbytes, "its cells")
        return [_cell(scalar) for scalar in column]
    values = [_cell(scalar) for scalar in column.dictionary]
    cells = [None if at is None else values[at] for at in column.indices.to_pylist()]
    expansion.add(sum(len(cell) for cell in cells if isinstance(cell, (str, bytes))), "its cells")
    return cells


def _cell(scalar: pyarrow.Scalar) -> object:
    """A parquet cell; text that is not UTF-8 keeps its bytes as surrogates, found later."""
    import pyarrow

    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if isinstance(scalar, pyarrow.StructScalar):
            return {name: _cell(scalar[name]) for name in scalar}
        if isinstance(scalar, pyarrow.ListScalar):
            return [_cell(each) for each in scalar.values]
        return scalar.cast("binary").as_py().decode("utf-8", "surrogateescape")
