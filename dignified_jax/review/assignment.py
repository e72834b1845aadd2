"""The dealing of rows to reviewers: each to `overlap` of them, all with alike many."""

from __future__ import annotations

import random
from collections import defaultdict

from sqlalchemy import delete, insert
from sqlmodel import Session, exists, select

from dignified_jax.review.audit import record
from dignified_jax.review.database import Database
from dignified_jax.review.judging import settle
from dignified_jax.review.tables import (
    REVIEWER,
    Account,
    Assignment,
    Judgment,
    Pair,
)


def deal(database: Database, account_id: int | None = None, address: str = "") -> dict[str, int]:
    """Deals all rows anew, save what was begun, and returns pseudonym -> pairs in its queue.

    Rows that a reviewer has judged a pair of stay with it. A row goes to those who have the fewest
    pairs, drawn by chance among equals, so that any two reviewers come to share rows. With fewer
    reviewers than the overlap each row goes to all of them.

    Args:
      account_id, address: who deals, for the audit log.
    """
    with database.writing() as session:
        reviewers = _reviewers(session)
        former = _clear(session)
        load: dict[int, int] = dict.fromkeys(reviewers, 0)
        held: dict[int, set[int]] = defaultdict(set)  # row -> reviewers
        pairs: dict[int, list[int]] = defaultdict(list)
        for pair_id, row_id in session.exec(select(Pair.id, Pair.row_id).order_by(Pair.id)):
            pairs[row_id].append(pair_id)
        kept = select(Assignment.account_id, Pair.row_id).join(Pair, Pair.id == Assignment.pair_id)
        for reviewer, row_id in session.exec(kept):
            if reviewer in load and reviewer not in held[row_id]:
                load[reviewer] += len(pairs[row_id])
            held[row_id].add(reviewer)
        source = random.Random(0)
        rows = list(pairs)
        source.shuffle(rows)
        rank = {row_id: number << 5 for number, row_id in enumerate(rows)}
        values = []
        for row_id in rows:
            free = [each for each in reviewers if each not in held[row_id]]
            free.sort(key=lambda each: (load[each], source.random()))
            for reviewer in free[: max(0, database.project.overlap - len(held[row_id]))]:
                load[reviewer] += len(pairs[row_id])
                values += [
                    {
                        "account_id": reviewer,
                        "pair_id": pair_id,
                        "rank": rank[row_id] + at,
                        "done": False,
                    }
                    for at, pair_id in enumerate(pairs[row_id])
                ]
        if values:
            session.execute(insert(Assignment), values)
        dealt = {(value["account_id"], value["pair_id"]) for value in values}
        settle(session, sorted({pair_id for _, pair_id in former ^ dealt}))
        record(session, "assign", account_id, address, f"{len(values)} pairs")
    return {reviewers[each]: number for each, number in load.items()}


def _reviewers(session: Session) -> dict[int, str]:
    """Returns account -> pseudonym of those who review."""
    found = select(Account.id, Account.pseudonym).where(Account.active, Account.role == REVIEWER)
    return dict(session.exec(found.order_by(Account.id)).all())


def _clear(session: Session) -> set[tuple[int, int]]:
    """Removes, and returns, the (account, pair) of rows that their reviewer has not begun."""
    judged = (
        select(Judgment.account_id, Pair.row_id)
        .join(Pair, Pair.id == Judgment.pair_id)
        .where(~Judgment.final)
        .subquery()
    )
    begun = exists().where(
        judged.c.account_id == Assignment.account_id,
        judged.c.row_id
        == select(Pair.row_id).where(Pair.id == Assignment.pair_id).scalar_subquery(),
    )
    removed = delete(Assignment).where(~begun)
    taken = removed.returning(Assignment.account_id, Assignment.pair_id)
    return {tuple(each) for each in session.execute(taken)}
