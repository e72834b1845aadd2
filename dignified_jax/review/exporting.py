"""Reviewed rows in the package's format, with who judged and changed what, and when."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sqlmodel import Session, select
from sqlmodel.sql.expression import SelectOfScalar

from dignified_jax.data.formats import parquet_file
from dignified_jax.files import jsonl
from dignified_jax.review.tables import (
    ACCEPTED,
    GOLDEN,
    PROMPT,
    REJECT,
    Account,
    Edit,
    Judgment,
    Pair,
    Row,
    Text,
)

PROVENANCE = "review"
"""The column that says what people did with a row."""
_CHUNK = 500
Record = dict[str, object]
OfRow = TypeVar("OfRow", Text, Pair, Edit)


@dataclasses.dataclass(frozen=True)
class Exported:
    """Rows and pairs written, and state -> pairs that were left out."""

    rows: int
    pairs: int
    left_out: Mapping[str, int]


def export(session: Session, dimensions: Sequence[str], target: str | Path) -> Exported:
    """Writes the accepted pairs, whole or not at all.

    A row has its accepted dimensions in `mask`, and is left out if none is. Its column `review`
    holds the provenance: an object in JSON lines, its JSON text in Parquet. A column
    `construction` that it was imported with is there as well.

    Args:
      session: a reading one, whose one moment is written.
      dimensions: of the review.
      target: a .jsonl or .parquet file; what lies there is replaced.

    Raises:
      ValueError: another kind of file, or no pair is accepted.
      OSError: it can't be written.
    """
    target = Path(target)
    if target.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{target}: expected a file .jsonl or .parquet")
    states: dict[str, int] = defaultdict(int)
    for state in session.exec(select(Pair.state)):
        states[state] += 1
    accepted = states.pop(ACCEPTED, 0)
    if not accepted:
        raise ValueError(f"{target}: not written, as no pair is accepted yet")
    found = list(records(session, dimensions))
    if target.suffix == ".jsonl":
        jsonl.write(target, found)
    else:
        parquet_file.write(target, found)
    return Exported(len(found), accepted, dict(states))


def records(session: Session, dimensions: Sequence[str]) -> Iterator[Record]:
    """Yields the accepted rows in the order of their import."""
    people = dict(session.exec(select(Account.id, Account.pseudonym)).all())
    ids = session.exec(
        select(Pair.row_id).where(Pair.state == ACCEPTED).distinct().order_by(Pair.row_id)
    ).all()
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        rows = session.exec(select(Row).where(Row.id.in_(some)).order_by(Row.id)).all()
        texts = _by_row(session, select(Text).where(Text.row_id.in_(some)))
        pairs = _by_row(session, select(Pair).where(Pair.row_id.in_(some)).order_by(Pair.id))
        edits = _by_row(session, select(Edit).where(Edit.row_id.in_(some)).order_by(Edit.id))
        of_pair: dict[int, list[Judgment]] = defaultdict(list)
        ids_of_pairs = [pair.id for each in pairs.values() for pair in each]
        judged = select(Judgment).where(Judgment.pair_id.in_(ids_of_pairs)).order_by(Judgment.id)
        for judgment in session.exec(judged):
            of_pair[judgment.pair_id].append(judgment)
        for row in rows:
            said = {text.field: text.text for text in texts[row.id]}
            provenance = {
                "row": row.id,
                "source": {"file": Path(row.file).name, "row": row.number},
                "earlier": row.origin.get(PROVENANCE),  # a review that the file came from
                "edits": [_edit(each, people) for each in edits[row.id]],
                "dimensions": {
                    pair.dimension: {
                        "state": pair.state,
                        "judgments": [_judgment(j, people) for j in of_pair[pair.id]],
                    }
                    for pair in pairs[row.id]
                },
            }
            mask = [pair.dimension for pair in pairs[row.id] if pair.state == ACCEPTED]
            yield _record(row, said, mask, dimensions) | row.origin | {PROVENANCE: provenance}


def _record(
    row: Row, said: Mapping[str, str], mask: Sequence[str], dimensions: Sequence[str]
) -> Record:
    turns = [
        {"role": role, "content": said[f"{PROMPT}[{number}]"]}
        for number, role in enumerate(row.roles)
    ]
    rejects = {REJECT + d: said[REJECT + d] if d in mask else "" for d in dimensions}
    return {
        "mask": [dimension for dimension in dimensions if dimension in mask],
        "seed_scene": row.seed_scene,
        "context": row.context,
        "trigger": row.trigger,
        "prompt": turns[0]["content"] if len(turns) == 1 else turns,
        "golden": said[GOLDEN],
        **rejects,
    }


def _edit(edit: Edit, people: Mapping[int, str]) -> Record:
    return {
        "field": edit.field,
        "version": edit.version,
        "of_version": edit.base,
        "by": people.get(edit.user_id, "import"),
        "at": edit.at,
        "text": edit.text,
    }


def _judgment(judgment: Judgment, people: Mapping[int, str]) -> Record:
    names = ("at", "verdict", "better", "golden_place", "ticks", "note", "seen", "final", "current")
    return {"by": people[judgment.account_id]} | {name: getattr(judgment, name) for name in names}


def _by_row(session: Session, found: SelectOfScalar[OfRow]) -> dict[int, list[OfRow]]:
    grouped: dict[int, list[OfRow]] = defaultdict(list)
    for each in session.exec(found):
        grouped[each.row_id].append(each)
    return grouped
