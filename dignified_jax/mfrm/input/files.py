"""Columns of rating files: CSV, TSV, JSON Lines, JSON, also gzipped, and Parquet.

Errors name the file and, where there is one, the line.
"""

from __future__ import annotations

import codecs
import collections
import contextlib
import csv
import gzip
import io
import json
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

from dignified_jax.console.labels import printable
from dignified_jax.mfrm.input.memory import refuse_beyond_memory

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SHOWN_NAMES = 20
# A field may hold a judge's whole reasoning; the standard library stops at 128 kB.
LONGEST_FIELD = 2**31 - 1
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Beginnings of files that are no text, and what to do with them.
DISGUISED = {
    b"\x1f\x8b": "gzip: let its name end in .gz, or decompress it",
    b"PK\x03\x04": "a zip or Excel file: unpack it, or export it as CSV",
    b"\x28\xb5\x2f\xfd": "zstd: decompress it, with zstd -d",
    b"BZh": "bzip2: decompress it, with bunzip2",
    b"\xfd7zX": "xz: decompress it, with unxz",
    b"PAR1": "Parquet: let its name end in .parquet",
}
# Python lists of an Arrow column take about this much a value, but for long texts.
BYTES_A_VALUE = 64


def read_file(path: pathlib.Path, wanted: Sequence[str]) -> dict[str, list[object]]:
    """Name -> values of the wanted columns; text for CSV, the file's own types for the others.

    A byte-order mark tells the encoding, UTF-8 otherwise. If the columns are not there with a
    CSV's usual delimiter, but with a semicolon, tab, comma or bar, that is the delimiter.

    Raises:
      ValueError: for missing or doubled columns, another kind of file, and damaged ones.
      ImportError: for Parquet without pyarrow.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError(f"{path}: is not a regular file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = ((suffixes[:-1] if packed else suffixes)[-1:] or [""])[0]
    if kind == ".parquet" and not packed:
        return _read_parquet(path, wanted)
    readers = dict.fromkeys(DELIMITERS, _read_delimited) | {
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".json": _read_json,
    }
    if kind not in readers:
        start = b""
        if path.exists():
            with path.open("rb") as file:
                start = file.read(4)
        what = next((w for magic, w in DISGUISED.items() if start.startswith(magic)), "")
        raise ValueError(
            f"{path}: expected .csv, .tsv, .jsonl, .json (also .gz) or .parquet"
            + (f"; this is {what}" if what else "")
        )
    return readers[kind](path, kind, packed, wanted)


def refuse_columns(names: Sequence[str], wanted: Sequence[str], source: str) -> None:
    """Raises ValueError where a wanted column is missing or stands twice."""
    missing = [name for name in wanted if name not in names]
    if missing and not names:
        raise ValueError(f"{source} is empty: it has no column {', '.join(map(repr, missing))}")
    if missing:
        folded = {name.strip().casefold(): name for name in names if isinstance(name, str)}
        alike = [folded[n.casefold()] for n in missing if n.casefold() in folded]
        cure = f"; name {alike[0]!r} as it is spelt there" if alike else ""
        more = f", ... ({len(names)})" if len(names) > SHOWN_NAMES else ""
        shown = ", ".join(repr(name)[:80] for name in names[:SHOWN_NAMES])
        raise ValueError(
            f"{source} has no column {', '.join(map(repr, missing))}; its columns are {shown}{more}"
            f"{cure}"
        )
    for name in wanted:
        if list(names).count(name) > 1:
            raise ValueError(
                f"{source} has {list(names).count(name)} columns {name!r}: rename all but one"
            )


def columns_of_records(
    records: Sequence[Mapping[str, object]], wanted: Sequence[str], source: str
) -> dict[str, list[object]]:
    """Columns from a row a mapping; a row without a wanted name has None there."""
    names = dict.fromkeys(name for record in records for name in record)
    refuse_columns(list(names), wanted, source)
    return {name: [plain(record.get(name)) for record in records] for name in wanted}


def plain(value: object) -> object:
    """Python's value of an array without axes: two equal tensors are not the same label."""
    if type(value) not in (str, int, float, bool) and getattr(value, "shape", None) == ():
        return value.item()
    return value


@contextlib.contextmanager
def _opened(path: pathlib.Path, packed: bool) -> Iterator[io.TextIOWrapper]:
    """The file as text; what its bytes do wrong becomes a ValueError with its name."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        if packed:
            raw = stack.enter_context(gzip.open(raw, "rb"))
        try:
            buffered = io.BufferedReader(raw)
            start = buffered.peek(4)[:4]
            encoding = next((e for b, e in BYTE_ORDER_MARKS.items() if start.startswith(b)), None)
            what = next((w for magic, w in DISGUISED.items() if start.startswith(magic)), "")
            if what:
                raise ValueError(f"{path}: not text but {what}")
            if encoding is None and b"\0" in start:
                raise ValueError(
                    f"{path}: not UTF-8 text (UTF-16 without its mark?): save it as UTF-8"
                )
            yield io.TextIOWrapper(buffered, encoding=encoding or "utf-8", newline="")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise ValueError(
                f"{path}: byte 0x{byte:02x} is not UTF-8 (Latin-1 or Windows-1252?): save it as "
                "UTF-8, or convert it with iconv -f latin1 -t utf-8"
            ) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: a damaged or truncated gzip file ({error})") from error


def _read_delimited(
    path: pathlib.Path, kind: str, packed: bool, wanted: Sequence[str]
) -> dict[str, list[object]]:
    usual = DELIMITERS[kind]
    headers = {}
    for delimiter in dict.fromkeys((usual, ",", ";", "\t", "|")):
        with _opened(path, packed) as file, _long_fields():
            reader = csv.reader(file, delimiter=delimiter)
            headers[delimiter] = _next_row(path, reader) or []
        if set(wanted) <= set(headers[delimiter]):
            break
    else:
        delimiter = usual
    header = headers[delimiter]
    refuse_columns(header, wanted, str(path))
    places = [header.index(name) for name in wanted]
    columns: list[list[object]] = [[] for _ in wanted]
    with _opened(path, packed) as file, _long_fields():
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        _next_row(path, reader)
        number = 0
        while (row := _next_row(path, reader)) is not None:
            if not row:
                continue
            number += 1
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, row {number}: {len(row)} values for {len(header)} columns"
                )
            for column, place in zip(columns, places, strict=True):
                column.append(row[place])
    return dict(zip(wanted, columns, strict=True))


def _next_row(path: pathlib.Path, reader: csv.reader) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json_lines(
    path: pathlib.Path, kind: str, packed: bool, wanted: Sequence[str]
) -> dict[str, list[object]]:
    del kind
    records: list[dict[str, object]] = []
    names: list[str] = []
    with _opened(path, packed) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            record = _parsed(line, f"{path}, line {number}")
            if not isinstance(record, dict):
                cure = " (a list of them? let the name end in .json)" * isinstance(record, list)
                raise ValueError(
                    f"{path}, line {number}: expected an object with the columns{cure}"
                )
            names = names or list(record)
            records.append({name: record[name] for name in wanted if name in record})
    if not any(records):
        refuse_columns(names, wanted, str(path))
    return columns_of_records(records, wanted, str(path))


def _read_json(
    path: pathlib.Path, kind: str, packed: bool, wanted: Sequence[str]
) -> dict[str, list[object]]:
    del kind
    with _opened(path, packed) as file:
        text = file.read()
    if not text.strip():
        raise ValueError(f"{path} is empty")
    table = _parsed(text, str(path), cure=" (JSON Lines? let the name end in .jsonl)")
    if isinstance(table, list) and all(isinstance(record, dict) for record in table):
        return columns_of_records(table, wanted, str(path))
    if isinstance(table, dict) and all(isinstance(values, list) for values in table.values()):
        refuse_columns(list(table), wanted, str(path))
        lengths = {name: len(table[name]) for name in wanted}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{path}: columns differ in length: {lengths}")
        return {name: table[name] for name in wanted}
    raise ValueError(f"{path}: expected a list of objects, or an object of lists")


def _parsed(text: str, where: str, cure: str = "") -> object:
    """The value; `cure`: what to say where another one follows it."""
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        cure = cure if "Extra data" in str(error) else ""
        raise ValueError(f"{where}: not JSON: {error}{cure}") from error


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object, of which json.loads alone would keep the last of two equal names in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled, _ = collections.Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{doubled[:80]!r} stands twice")
    return found


def _read_parquet(path: pathlib.Path, wanted: Sequence[str]) -> dict[str, list[object]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{path} is a Parquet file: install pyarrow to read it") from error
    os.stat(path)  # a missing file is told as such
    try:
        file = pyarrow.parquet.ParquetFile(path)
        refuse_columns(file.schema_arrow.names, wanted, str(path))
        rows = file.metadata.num_rows
        refuse_beyond_memory(f"{path}: {rows:,} rows", BYTES_A_VALUE * rows * len(wanted))
        table = file.read(columns=list(wanted))
    except (pyarrow.ArrowException, OSError) as error:
        text = printable(str(error))[:200]
        raise ValueError(f"{path}: not a readable Parquet file: {text}") from error
    return {name: table.column(name).to_pylist() for name in wanted}
