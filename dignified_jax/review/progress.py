"""Lists and counts of what is done and what is left."""

from __future__ import annotations

import dataclasses

from sqlalchemy import String, cast, literal
from sqlmodel import Session, func, select

from dignified_jax.review.tables import (
    REVIEWER,
    STATES,
    Account,
    Assignment,
    Edit,
    Pair,
    Row,
    Text,
)

PAGE = 50


@dataclasses.dataclass(frozen=True)
class QueueProgress:
    """Pairs in a reviewer's queue, and how many of them it has judged."""

    pseudonym: str
    done: int
    assigned: int


@dataclasses.dataclass(frozen=True)
class Listed:
    """A line of a list of pairs."""

    pair_id: int
    row_id: int
    dimension: str
    state: str
    beginning: str


def next_pair(session: Session, account_id: int) -> int | None:
    """Returns the first pair in a queue that is not judged."""
    mine = select(Assignment.pair_id).where(Assignment.account_id == account_id, ~Assignment.done)
    return session.exec(mine.order_by(Assignment.rank).limit(1)).first()


def progress_of(session: Session, account_id: int) -> tuple[int, int]:
    """Returns pairs judged and pairs assigned of one reviewer."""
    counts = select(Assignment.done, func.count()).where(Assignment.account_id == account_id)
    by_done = dict(session.exec(counts.group_by(Assignment.done)).all())
    return by_done.get(True, 0), sum(by_done.values())


def progress(session: Session) -> list[QueueProgress]:
    """Returns the progress of every reviewer, by pseudonym."""
    counts = select(Assignment.account_id, Assignment.done, func.count())
    found: dict[int, dict[bool, int]] = {}
    for account_id, done, number in session.exec(
        counts.group_by(Assignment.account_id, Assignment.done)
    ):
        found.setdefault(account_id, {})[done] = number
    people = select(Account.id, Account.pseudonym).order_by(Account.id)
    who = session.exec(people.where(Account.role == REVIEWER, Account.active)).all()
    return [
        QueueProgress(name, found.get(each, {}).get(True, 0), sum(found.get(each, {}).values()))
        for each, name in who
    ]


def states(session: Session) -> dict[str, int]:
    """Returns state -> number of pairs."""
    found = dict(session.exec(select(Pair.state, func.count()).group_by(Pair.state)).all())
    return {state: found.get(state, 0) for state in STATES}


def page_of_pairs(
    session: Session, page: int, state: str | None = None, account_id: int | None = None
) -> tuple[list[Listed], bool]:
    """Returns a page of pairs, from 1, and whether more follow.

    Args:
      state: of the pairs; for one reviewer "done" or "to do"; None for all.
      account_id: whose pairs, in the order of its queue; None for everyone's.
    """
    beginning = func.substr(Text.text, 1, 120)
    last = cast(func.json_array_length(Row.roles) - 1, String)
    of_prompt = (Text.row_id == Pair.row_id) & (Text.field == literal("prompt[") + last + "]")
    found = (
        select(Pair.id, Pair.row_id, Pair.dimension, Pair.state, beginning)
        .join(Row, Row.id == Pair.row_id)
        .join(Text, of_prompt)
    )
    if account_id is not None:
        found = found.join(Assignment, Assignment.pair_id == Pair.id).where(
            Assignment.account_id == account_id
        )
        if state is not None:
            found = found.where(Assignment.done == (state == "done"))
        found = found.order_by(Assignment.rank)
    else:
        found = found.order_by(Pair.id)
        if state is not None:
            found = found.where(Pair.state == state)
    rows = session.exec(found.offset((page - 1) * PAGE).limit(PAGE + 1)).all()
    return [Listed(*row) for row in rows[:PAGE]], len(rows) > PAGE


def unresolved(session: Session) -> list[Edit]:
    """Returns the edits in conflict that nobody has seen to, oldest first."""
    return list(session.exec(select(Edit).where(Edit.unresolved).order_by(Edit.id)).all())
