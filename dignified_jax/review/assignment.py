"""The dealing of rows to reviewers: each to `overlap` of them, all with alike many."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert
from sqlmodel import Session, select

from dignified_jax.review.audit import record
from dignified_jax.review.database import Database
from dignified_jax.review.judging import settle
from dignified_jax.review.tables import REVIEWER, Account, Assignment, Judgment, Pair

Row, Person = int, int
"""Numbers of rows and accounts."""


def deal(database: Database, account_id: int | None = None, address: str = "") -> dict[str, int]:
    """Deals all rows anew, save what was begun, and returns pseudonym -> pairs in its queue.

    Rows that a reviewer has judged a pair of stay with it, unless it has left before the last one.
    A row goes to those who have the fewest pairs, drawn by chance among equals, so that any two
    reviewers come to share rows. With fewer reviewers than the overlap each row goes to all.

    Args:
      account_id, address: who deals, for the audit log.
    """
    with database.writing() as session:
        reviewers = _reviewers(session)
        pairs: dict[Row, list[int]] = defaultdict(list)
        for pair_id, row_id in session.exec(select(Pair.id, Pair.row_id).order_by(Pair.id)):
            pairs[row_id].append(pair_id)
        held, former = _begun(session, reviewers)
        rank, dealt = _dealt(pairs, held, list(reviewers), database.project.overlap)
        _remove(session, former - dealt)
        values = [
            {"account_id": who, "pair_id": pair_id, "rank": rank[pair_id], "done": False}
            for who, pair_id in sorted(dealt - former)
        ]
        if values:
            session.execute(insert(Assignment), values)
        settle(session, sorted({pair_id for _, pair_id in former ^ dealt}))
        record(session, "assign", account_id, address, f"{len(values)} pairs newly dealt")
        load = dict.fromkeys(reviewers, 0)
        for who in session.exec(select(Assignment.account_id)):
            if who in load:
                load[who] += 1
    return {reviewers[who]: number for who, number in load.items()}


def _reviewers(session: Session) -> dict[Person, str]:
    """Returns account -> pseudonym of those who review."""
    found = select(Account.id, Account.pseudonym).where(Account.active, Account.role == REVIEWER)
    return dict(session.exec(found.order_by(Account.id)).all())


def _begun(
    session: Session, reviewers: Mapping[Person, str]
) -> tuple[dict[Row, set[Person]], set[tuple[Person, int]]]:
    """Returns row -> who keeps it, and the (account, pair) that are free to be dealt anew."""
    judgments = select(Judgment.account_id, Pair.row_id).join(Pair, Pair.id == Judgment.pair_id)
    judged = {tuple(each) for each in session.exec(judgments.where(~Judgment.final).distinct())}
    queues: dict[tuple[Person, Row], list[tuple[int, bool]]] = defaultdict(list)
    found = select(Assignment.account_id, Pair.row_id, Assignment.pair_id, Assignment.done)
    for who, row_id, *rest in session.exec(found.join(Pair, Pair.id == Assignment.pair_id)):
        queues[who, row_id].append(tuple(rest))
    held: dict[Row, set[Person]] = defaultdict(set)
    free: set[tuple[Person, int]] = set()
    for (who, row_id), queue in queues.items():
        left = {(who, pair_id) for pair_id, done in queue if not done}
        if (who, row_id) not in judged:
            free |= {(who, pair_id) for pair_id, _ in queue}
        elif who in reviewers or not left:
            held[row_id].add(who)
        else:
            free |= left
    return held, free


def _dealt(
    pairs: Mapping[Row, list[int]],
    held: Mapping[Row, set[Person]],
    reviewers: list[Person],
    overlap: int,
) -> tuple[dict[int, int], set[tuple[Person, int]]]:
    """Returns pair -> rank, and the (account, pair) that fill each row up to the overlap."""
    source = random.Random(0)
    load = dict.fromkeys(reviewers, 0)
    for row_id, people in held.items():
        for who in people & load.keys():
            load[who] += len(pairs[row_id])
    rows = list(pairs)
    source.shuffle(rows)
    rank: dict[int, int] = {}
    dealt: set[tuple[Person, int]] = set()
    for row_id in rows:
        people = held.get(row_id, set())
        others = [who for who in reviewers if who not in people]
        others.sort(key=lambda who: (load[who], source.random()))
        for who in others[: max(0, overlap - len(people))]:
            load[who] += len(pairs[row_id])
            dealt |= {(who, pair_id) for pair_id in pairs[row_id]}
        for pair_id in pairs[row_id]:
            rank[pair_id] = len(rank)
    return rank, dealt


def _remove(session: Session, taken: set[tuple[Person, int]]) -> None:
    if taken:
        one = (Assignment.account_id == bindparam("who")) & (Assignment.pair_id == bindparam("it"))
        values = [{"who": who, "it": pair_id} for who, pair_id in sorted(taken)]
        session.connection().execute(delete(Assignment).where(one), values)
