"""The page on which a pair is judged, by reviewers and, finally, by adjudicators."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlmodel import Session, select

from dignified_jax.review import judging, pairs, progress
from dignified_jax.review.tables import Account, Edit, Judgment, Pair
from dignified_jax.review.web.site import (
    Decider,
    Fields,
    Form,
    Id,
    Judge,
    Visitor,
    go,
    missing,
    page,
    site_of,
)

router = APIRouter()
# Letters that tick statements; others are taken by the page's buttons.
TICK_KEYS = "qwtyuiopzxcvbm"
_CHANGED = (
    "A text was changed while you were reading. What you chose is still here, and nothing was "
    "saved yet: read the texts again and send it once more."
)


@dataclasses.dataclass(frozen=True)
class Said:
    """The content of the form: a choice, ticks, a note; and of a judgment, whose and when."""

    choice: str = ""
    ticks: tuple[str, ...] = ()
    note: str = ""
    verdict: str = ""
    by: str = ""
    at: str = ""


@router.get("/next")
def next_page(request: Request, visitor: Judge) -> Response:
    """Goes to the first pair of the queue that is not judged."""
    with site_of(request).database.reading() as session:
        pair_id = progress.next_pair(session, visitor.account.id)
    return go("/?after=all" if pair_id is None else f"/pairs/{pair_id}")


@router.get("/pairs/{pair_id}")
def pair_page(
    request: Request,
    visitor: Judge,
    pair_id: Id,
    after: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Shows a pair, and to adjudicators what reviewers said of it."""
    return _page(request, visitor, pair_id, None, after=after)


@router.post("/pairs/{pair_id}/judgment")
def save(request: Request, visitor: Judge, form: Form, pair_id: Id) -> Response:
    """Saves a reviewer's judgment and goes to what is next in its queue."""
    return _save(request, visitor, form, pair_id, final=False)


@router.post("/pairs/{pair_id}/decision")
def decide(request: Request, visitor: Decider, form: Form, pair_id: Id) -> Response:
    """Saves an adjudicator's decision and goes back to what waits for one."""
    return _save(request, visitor, form, pair_id, final=True)


def _save(request: Request, visitor: Visitor, form: Fields, pair_id: int, final: bool) -> Response:
    site = site_of(request)
    # Browsers send CR LF for the line ends that they count as one character each.
    note = form.one("note").replace("\r\n", "\n")
    said = Said(form.one("choice"), tuple(form.all("tick")), note, form.one("verdict"))
    try:
        answer = judging.Opinion(said.verdict, said.choice, said.ticks, said.note)
        answer.check_ticks(site.database.project.rubric)
        with site.database.writing() as session:
            view = pairs.view(session, site.secret, visitor.account.id, pair_id)
            if view is None:
                missing()
            judging.judge(session, view, visitor.account.id, answer, form.one("seen"), final)
            following = progress.next_pair(session, visitor.account.id)
    except ValueError as error:
        return _page(request, visitor, pair_id, said, 400, str(error))
    except judging.OutdatedError:
        return _page(request, visitor, pair_id, said, 409, _CHANGED)
    if final:
        return go(f"/adjudicate?after={said.verdict}")
    place = "/" if following is None else f"/pairs/{following}"
    return go(f"{place}?after={said.verdict if following else 'all'}")


def _page(
    request: Request,
    visitor: Visitor,
    pair_id: int,
    said: Said | None,
    status: int = 200,
    problem: str | None = None,
    after: str = "",
) -> Response:
    site = site_of(request)
    rubric = site.database.project.rubric
    who = visitor.account.id
    with site.database.reading() as session:
        view = pairs.view(session, site.secret, who, pair_id)
        if view is None:
            missing()
        current = _judgments(session, view)
        mine = [each for each, _ in current if each.account_id == who]
        siblings = session.exec(select(Pair).where(Pair.row_id == view.row.id)).all()
        judged = _judged(session, who, [pair.id for pair in siblings])
        edited = session.exec(select(Edit.id).where(Edit.row_id == view.row.id).limit(1)).first()
        done, assigned = progress.progress_of(session, who)
    if said is None:
        said = _said(view, mine[-1]) if mine else Said()
    statements = rubric.statements(view.pair.dimension)
    return page(
        request,
        visitor,
        "pair.html",
        status,
        view=view,
        guide=rubric.guide(view.pair.dimension),
        statements=[
            (item, text, TICK_KEYS[at : at + 1])
            for at, (item, text) in enumerate(statements.items())
        ],
        siblings=[
            (pair, rubric.guide(pair.dimension).title, pair.id in judged) for pair in siblings
        ],
        others=[_said(view, j, name) for j, name in current] if visitor.decides else [],
        said=said,
        judged_before=bool(mine),
        edited=edited is not None,
        progress=(done, assigned),
        problem=problem,
        after=after,
    )


def _judgments(session: Session, view: pairs.View) -> list[tuple[Judgment, str]]:
    found = select(Judgment, Account.pseudonym).join(Account, Account.id == Judgment.account_id)
    of_pair = found.where(Judgment.pair_id == view.pair.id, Judgment.current)
    return [(each, name) for each, name in session.exec(of_pair.order_by(Judgment.id))]


def _judged(session: Session, account_id: int, pair_ids: list[int]) -> set[int]:
    found = select(Judgment.pair_id).where(
        Judgment.pair_id.in_(pair_ids), Judgment.current, Judgment.account_id == account_id
    )
    return set(session.exec(found).all())


def _said(view: pairs.View, judgment: Judgment, by: str = "") -> Said:
    """Returns what a judgment says, in the order in which `view` shows the responses."""
    return Said(
        view.choice(judgment.better),
        tuple(judgment.ticks),
        judgment.note,
        judgment.verdict,
        f"{by}, final" if by and judgment.final else by,
        judgment.at,
    )
