"""Records of CSV."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from dignified_jax.console.waiting import ShowCount
from dignified_jax.data.schema import BadRowsError, RowProblem, shorten
from dignified_jax.data.sources.record import RawRecord, check_header
from dignified_jax.data.sources.text import opened

_LONGEST_FIELD = 2**31 - 1


def csv_records(
    name: str, path: Path, required: Sequence[str], count: ShowCount
) -> Iterator[RawRecord]:
    """Yields the records of a table with a header.

    Args:
      name, path, count: as `text.opened`.
      required: columns that it must have.

    Raises:
      BadRowsError: the header is no CSV, lacks a required column or repeats one.
      ValueError: as `text.opened` and its stream.
    """
    consumed: list[str] = []  # the physical lines of the record being read

    def lines(stream: TextIO) -> Iterator[str]:
        held: list[str] = []  # the last line that is not empty, and the empty ones after it
        for line in stream:
            if line.strip("\r\n"):
                yield from held
                held.clear()
            held.append(line)
        if held and (last := held[0].rstrip("\r\n")):
            yield last

    def noted(line: str) -> str:
        consumed.append(line)
        return line

    limit = csv.field_size_limit(_LONGEST_FIELD)  # the default refuses long responses
    try:
        with opened(name, path, count) as stream:
            # Bytes that are not UTF-8 become surrogates, which `validation` reports row by row.
            text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
            # strict: otherwise a missing quote silently swallows the rest of the file
            reader = csv.reader(map(noted, lines(text)), strict=True)
            yield from _records(name, reader, consumed, required)
    finally:
        csv.field_size_limit(limit)


def _records(
    name: str, reader: Iterator[list[str]], consumed: list[str], required: Sequence[str]
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
