"""Judgments of pairs, and the state of a pair that follows from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sqlmodel import Session, select, update

from dignified_jax.review.database import now
from dignified_jax.review.pairs import View
from dignified_jax.review.rubric import Questionnaire
from dignified_jax.review.tables import (
    ACCEPTED,
    DISPUTED,
    GOLDEN,
    OPEN,
    REJECTED,
    Assignment,
    Judgment,
    Pair,
)

ACCEPT, REJECT = "accept", "reject"
LONGEST_NOTE = 4000
_CHUNK = 500


class OutdatedError(Exception):
    """The texts were changed since the person saw them: nothing was saved."""


@dataclasses.dataclass(frozen=True)
class Opinion:
    """An opinion about a pair, as a form brings it.

    Attributes:
      verdict: "accept" or "reject".
      choice: the place of the better response, "1" or "2"; "0" for neither.
      ticks: ids of the statements that hold.
      note: free text.

    Raises:
      ValueError: a value that is none of these, or an acceptance of neither.
    """

    verdict: str
    choice: str
    ticks: tuple[str, ...]
    note: str

    def __post_init__(self) -> None:
        if self.choice not in ("0", "1", "2"):
            raise ValueError("Say first which response is better: 1, 2 or neither.")
        if self.verdict not in (ACCEPT, REJECT):
            raise ValueError(f"The verdict must be accept or reject, not {self.verdict!r}.")
        if self.verdict == ACCEPT and self.choice == "0":
            raise ValueError("A pair in which neither response is better can't be accepted.")
        if len(self.note) > LONGEST_NOTE:
            raise ValueError(
                f"The note may have {LONGEST_NOTE} characters; it has {len(self.note)}."
            )

    def check_ticks(self, rubric: Questionnaire) -> None:
        """Checks that all ticks are of the rubric.

        Raises:
          ValueError: one is not.
        """
        unknown = [tick for tick in self.ticks if tick not in rubric.items]
        if unknown:
            raise ValueError(f"The rubric has no statement {unknown[0]!r}.")


def judge(
    session: Session, view: View, account_id: int, answer: Opinion, seen: str, final: bool = False
) -> None:
    """Saves a judgment, and what follows from it; an earlier one of the same person is replaced.

    Args:
      session: a writing one, in which `view` was read.
      view: the pair for this person.
      account_id: who judges.
      answer: checked.
      seen: the versions that the person saw, `View.seen` of then.
      final: whether it is an adjudicator's, which settles the pair.

    Raises:
      OutdatedError: a text has changed since.
    """
    if seen != view.seen:
        raise OutdatedError
    pair_id = view.pair.id
    earlier = (Judgment.pair_id == pair_id) & Judgment.current & (Judgment.final == final)
    if not final:  # of adjudicators the last one counts, whoever it is
        earlier &= Judgment.account_id == account_id
    session.exec(update(Judgment).where(earlier).values(current=False))
    session.add(
        Judgment(
            pair_id=pair_id,
            account_id=account_id,
            at=now(),
            verdict=answer.verdict,
            better=view.better(answer.choice),
            golden_place=view.golden_place,
            ticks=list(answer.ticks),
            seen=view.versions,
            note=answer.note,
            final=final,
        )
    )
    session.flush()
    mine = Assignment.pair_id == pair_id
    if not final:  # the queues of others don't end with it
        mine &= Assignment.account_id == account_id
    session.exec(update(Assignment).where(mine).values(done=True))
    settle(session, [pair_id])


def settle(session: Session, pair_ids: Sequence[int]) -> None:
    """Sets the states of pairs, by their current judgments and open assignments."""
    for start in range(0, len(pair_ids), _CHUNK):
        some = pair_ids[start : start + _CHUNK]
        judgments: dict[int, list[Judgment]] = {each: [] for each in some}
        current = select(Judgment).where(Judgment.pair_id.in_(some), Judgment.current)
        for judgment in session.exec(current):
            judgments[judgment.pair_id].append(judgment)
        left = select(Assignment.pair_id).where(Assignment.pair_id.in_(some), ~Assignment.done)
        waiting = set(session.exec(left).all())
        for pair in session.exec(select(Pair).where(Pair.id.in_(some))):
            pair.state = state_of(judgments[pair.id], pair.id in waiting)
            session.add(pair)


def state_of(judgments: Sequence[Judgment], waiting: bool) -> str:
    """Returns the state of a pair.

    Args:
      judgments: its current ones.
      waiting: whether someone is still to judge it.
    """
    final = [each for each in judgments if each.final]
    outcomes = {outcome(each) for each in final or judgments}
    if not outcomes or (waiting and not final):
        return OPEN
    return outcomes.pop() if len(outcomes) == 1 else DISPUTED


def outcome(judgment: Judgment) -> str:
    """Returns "accepted", which asks that golden was found better as well, or "rejected"."""
    good = judgment.verdict == ACCEPT and judgment.better == GOLDEN
    return ACCEPTED if good else REJECTED


def reopen(session: Session, pair_ids: Sequence[int]) -> None:
    """Ends what was judged of pairs whose text changed: their reviewers are asked again."""
    judged = Judgment.pair_id.in_(pair_ids)
    session.exec(update(Judgment).where(judged, Judgment.current).values(current=False))
    session.exec(update(Assignment).where(Assignment.pair_id.in_(pair_ids)).values(done=False))
    settle(session, pair_ids)
