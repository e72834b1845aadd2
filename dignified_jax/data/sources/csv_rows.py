"""Records of CSV."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from dignified_jax.data.schema import BadRowsError, RowProblem, shorten
from dignified_jax.data.sources.record import RawRecord, check_header


def csv_records(name: str, data: bytes, required: Sequence[str]) -> list[RawRecord]:
    """Returns the records of a table with a header.

    Raises:
      BadRowsError: the header is no CSV, lacks a required column or repeats one.
    """
    # Bytes that are not UTF-8 become surrogates, which `validation` reports row by row.
    text = data.decode("utf-8", "surrogateescape")
    text = text.removeprefix("\ufeff").rstrip("\r\n")
    consumed: list[str] = []  # the physical lines of the record being read

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    limit = csv.field_size_limit(len(text) + 1)  # the default refuses long responses
    try:
        # strict: otherwise a missing quote silently swallows the rest of the file
        reader = csv.reader(lines(), strict=True)
        return list(_records(name, reader, consumed, required))
    finally:
        csv.field_size_limit(limit)


def _records(
    name: str, reader: Any, consumed: list[str], required: Sequence[str]
) -> Iterator[RawRecord]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise BadRowsError([RowProblem(name, 0, "header", "CSV", str(error))]) from error
    if header is None:
        return
    check_header(name, header, required)
    for row in itertools.count(1):
        consumed.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raw = "".join(consumed)
            yield RawRecord(name, row, None, raw, ("row", "CSV", f"{shorten(raw)} ({error})"))
            continue
        if cells is None:
            return
        raw = "".join(consumed)
        if len(cells) == len(header):
            yield RawRecord(name, row, dict(zip(header, cells, strict=True)), raw)
        else:
            found = f"{len(cells)} in {shorten(raw)}"
            yield RawRecord(name, row, None, raw, ("row", f"{len(header)} cells", found))
