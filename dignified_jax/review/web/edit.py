"""Edits of texts, their conflicts and their history."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup
from sqlmodel import Session, select

from dignified_jax.review import editing, pairs
from dignified_jax.review.audit import record
from dignified_jax.review.tables import Account, Edit, Judgment, Pair
from dignified_jax.review.web.site import (
    Decider,
    Form,
    Id,
    Judge,
    Visitor,
    go,
    missing,
    page,
    site_of,
)
from dignified_jax.review.web.texts import changes

router = APIRouter()


@dataclasses.dataclass(frozen=True)
class Version:
    """A text in a history: the name of its slot, its edit, whose, and what it changed."""

    name: str
    edit: Edit
    by: str
    changed: Markup | None


@router.get("/pairs/{pair_id}/edit/{slot}")
def edit_page(request: Request, visitor: Judge, pair_id: Id, slot: str) -> Response:
    """Shows the form that changes a text."""
    with site_of(request).database.reading() as session:
        view, field = _find(request, visitor, session, pair_id, slot)
    values = {"view": view, "slot": slot, "name": _name(slot), "base": view.versions[field]}
    return page(request, visitor, "edit.html", **values, said=view.text(slot), problem=None)


@router.post("/pairs/{pair_id}/edit/{slot}")
def save(request: Request, visitor: Judge, form: Form, pair_id: Id, slot: str) -> Response:
    """Saves a text, or keeps it beside that of someone who was faster and shows both."""
    base = _number(form.one("base"))
    said, who, problem = form.one("text"), visitor.account.id, None
    with site_of(request).database.writing() as session:
        view, field = _find(request, visitor, session, pair_id, slot)
        values = {"view": view, "slot": slot, "name": _name(slot)}
        try:
            done = editing.edit(session, view.row.id, field, said, base, who)
        except ValueError as error:
            problem = str(error)
        else:
            # What was joined with another's is saved, or has met yet another edit.
            editing.resolve(session, view.row.id, _number(form.one("resolves")))
            if done.conflict is not None:
                what = "conflict"
            else:
                what = "edit" if done.version != view.versions[field] else None
            if what:
                detail = f"row {view.row.id} {field}"
                record(session, what, who, visitor.address, detail)
    if problem is not None:
        values |= {"base": base, "said": said, "problem": problem}
        return page(request, visitor, "edit.html", 400, **values)
    if done.conflict is not None:
        return _conflict_page(request, visitor, view, slot, done.conflict, 409)
    return go(f"/pairs/{pair_id}?after=edited")


@router.post("/pairs/{pair_id}/keep/{slot}")
def keep(request: Request, visitor: Judge, form: Form, pair_id: Id, slot: str) -> Response:
    """Ends a conflict with the text as it is now; the other edits stay in the history."""
    with site_of(request).database.writing() as session:
        view, field = _find(request, visitor, session, pair_id, slot)
        editing.resolve(session, view.row.id, _number(form.one("resolves")))
        detail = f"row {view.row.id} {field}"
        record(session, "conflict resolved", visitor.account.id, visitor.address, detail)
    return go(f"/pairs/{pair_id}?after=kept")


@router.get("/edits/{edit_id}")
def conflict_page(request: Request, visitor: Decider, edit_id: Id) -> Response:
    """Shows an edit that met another's, to whoever may decide."""
    site = site_of(request)
    with site.database.reading() as session:
        edit = session.get(Edit, edit_id)
        if edit is None or not edit.unresolved:
            missing()
        for pair in session.exec(select(Pair).where(Pair.row_id == edit.row_id)):
            view = pairs.view(session, site.secret, visitor.account.id, pair.id)
            slot = view.slot(edit.field)
            if slot is not None:
                break
    return _conflict_page(request, visitor, view, slot, edit)


def _conflict_page(
    request: Request, visitor: Visitor, view: pairs.View, slot: str, edit: Edit, status: int = 200
) -> Response:
    now, other = view.text(slot), edit.text
    values = {"view": view, "slot": slot, "name": _name(slot), "now": now, "edit": edit}
    base = view.versions[view.field(slot)]
    return page(
        request, visitor, "conflict.html", status, **values, base=base, changed=changes(now, other)
    )


@router.get("/pairs/{pair_id}/history")
def history(request: Request, visitor: Judge, pair_id: Id) -> Response:
    """Shows all texts that a pair had, and the visitor's judgments; to deciders everyone's."""
    site = site_of(request)
    with site.database.reading() as session:
        view = pairs.view(session, site.secret, visitor.account.id, pair_id)
        if view is None:
            missing()
        people = dict(session.exec(select(Account.id, Account.pseudonym)).all())
        edits = session.exec(select(Edit).where(Edit.row_id == view.row.id).order_by(Edit.id)).all()
        judgments = session.exec(
            select(Judgment).where(Judgment.pair_id == pair_id).order_by(Judgment.id)
        ).all()
    shown = [each for each in judgments if visitor.decides or each.account_id == visitor.account.id]
    judged = [(each, people[each.account_id], view.choice(each.better)) for each in shown]
    return page(
        request,
        visitor,
        "history.html",
        view=view,
        versions=_versions(view, edits, people),
        judged=judged,
    )


def _versions(view: pairs.View, edits: list[Edit], people: dict[int, str]) -> list[Version]:
    text_of = {(each.field, each.version): each.text for each in edits if each.version}
    return [
        Version(
            _name(slot),
            each,
            people.get(each.user_id, "import"),
            changes(before, each.text) if before is not None else None,
        )
        for each in edits
        if (slot := view.slot(each.field)) is not None
        for before in (text_of.get((each.field, each.base)),)
    ]


def _find(
    request: Request, visitor: Visitor, session: Session, pair_id: int, slot: str
) -> tuple[pairs.View, str]:
    view = pairs.view(session, site_of(request).secret, visitor.account.id, pair_id)
    if view is None:
        missing()
    try:
        return view, view.field(slot)
    except KeyError:
        missing()


def _number(text: str) -> int:
    """Returns the number in a form's field, 0 where there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _name(slot: str) -> str:
    if slot in pairs.PLACES:
        return f"response {slot}"
    return "question" if slot == "q0" else f"turn {int(slot[1:]) + 1} of the conversation"
