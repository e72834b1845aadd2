"""Preference rows into a review."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import insert, text
from sqlmodel import Session, func, select

from dignified_jax.data.formats.rejects import PROVENANCE_COLUMNS
from dignified_jax.data.rows import read_rows
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import as_objects, messages_of
from dignified_jax.data.sources import stream_records
from dignified_jax.review.audit import record
from dignified_jax.review.database import Database
from dignified_jax.review.tables import GOLDEN, PROMPT, REJECT, Pair, Row, Text

_CHUNK = 500
Rows = Sequence[PreferenceRow]
Origin = Mapping[str, object]
Origins = Mapping[tuple[str, int], Origin]


@dataclasses.dataclass(frozen=True)
class Imported:
    """How many rows and pairs were added, and how many rows were there already."""

    rows: int
    pairs: int
    known: int


def read(files: Sequence[str], dimensions: Sequence[str]) -> tuple[list[Rows], Origins]:
    """Reads and checks all files before anything is written.

    Raises:
      BadRowsError: names file, row and field of all that is wrong with a file.
      ValueError, OSError: a file can't be read.
    """
    rows = [read_rows(file, dimensions=dimensions) for file in files]
    origins = {
        (record.file, record.row): kept
        for file in files
        for record in stream_records(file)
        if (kept := _origin(record.columns or {}))
    }
    return rows, origins


def _origin(columns: Mapping[str, object]) -> Origin:
    """Returns the columns that say how a row was made; tables have objects as JSON text."""
    return {
        name: _parsed(value)
        for name in PROVENANCE_COLUMNS
        if isinstance(value := columns.get(name), str | Mapping)
    }


def _parsed(value: str | Mapping[str, object]) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def add(database: Database, files: Sequence[Rows], origins: Origins | None = None) -> Imported:
    """Adds rows, all or none. A row that is there already, to the letter, is not added again.

    Args:
      files: rows of each.
      origins: (file, row number) -> columns that say how a row was made, to be exported with it.
    """
    with database.writing() as session:
        known = set(session.exec(select(Row.digest)).all())
        first = (session.exec(select(func.max(Row.id))).one() or 0) + 1
        fresh = _fresh(itertools.chain.from_iterable(files), known)
        pairs = 0
        numbered = zip(itertools.count(first), fresh, strict=False)
        added = 0
        while chunk := list(itertools.islice(numbered, _CHUNK)):
            added += len(chunk)
            pairs += _insert(session, chunk, origins or {})
        total = sum(map(len, files))
        record(session, "import", detail=f"{added} rows, {pairs} pairs")
        session.exec(text("ANALYZE"))
    return Imported(added, pairs, total - added)


def _fresh(
    rows: Iterable[PreferenceRow], known: set[bytes]
) -> Iterator[tuple[bytes, PreferenceRow]]:
    for row in rows:
        content = [as_objects(row.prompt), row.golden, sorted(row.rejects.items())]
        digest = hashlib.sha256(json.dumps(content).encode()).digest()
        if digest not in known:
            known.add(digest)
            yield digest, row


def _insert(
    session: Session, chunk: Sequence[tuple[int, tuple[bytes, PreferenceRow]]], origins: Origins
) -> int:
    rows, texts, pairs = [], [], []
    for number, (digest, row) in chunk:
        messages = messages_of(row.prompt)
        rows.append(
            {
                "id": number,
                "digest": digest,
                "file": row.file,
                "number": row.row,
                "roles": [message.role for message in messages],
                "seed_scene": row.seed_scene,
                "context": row.context,
                "trigger": row.trigger,
                "origin": origins.get((row.file, row.row), {}),
            }
        )
        fields = {f"{PROMPT}[{at}]": message.content for at, message in enumerate(messages)}
        fields |= {GOLDEN: row.golden} | {REJECT + d: said for d, said in row.rejects.items()}
        texts += [
            {"row_id": number, "field": k, "text": v, "version": 1} for k, v in fields.items()
        ]
        pairs += [{"row_id": number, "dimension": d, "state": "open"} for d in row.mask]
    for table, values in ((Row, rows), (Text, texts), (Pair, pairs)):
        session.execute(insert(table), values)
    return len(pairs)
