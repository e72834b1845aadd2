"""Accounts, assignments and the audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlmodel import Session, select

from dignified_jax.review import accounts, assignment
from dignified_jax.review.audit import record
from dignified_jax.review.tables import ROLES, Account, AuditEntry
from dignified_jax.review.web.lists import Page
from dignified_jax.review.web.site import (
    Administrator,
    Form,
    Id,
    Visitor,
    go,
    missing,
    page,
    site_of,
)

router = APIRouter()
_ENTRIES = 100


@router.get("/accounts")
def accounts_page(request: Request, visitor: Administrator) -> Response:
    """Lists the accounts, with a form for a new one."""
    return _page(request, visitor)


@router.post("/accounts")
def add(request: Request, visitor: Administrator, form: Form) -> Response:
    """Makes an account and shows its one-time link, this once."""
    try:
        with site_of(request).database.writing() as session:
            account = accounts.add(session, form.one("name"), form.one("role"))
            token = accounts.invite(session, account)
            _record(session, visitor, "account made", account)
    except ValueError as error:
        return _page(request, visitor, 400, problem=str(error), name=form.one("name"))
    return _page(request, visitor, link=_link(request, token), whose=account.name)


@router.post("/accounts/{account_id}/link")
def link(request: Request, visitor: Administrator, form: Form, account_id: Id) -> Response:
    """Makes a new one-time link and shows it, this once; an inactive account is active again."""
    with site_of(request).database.writing() as session:
        account = session.get(Account, account_id)
        if account is None:
            missing()
        account.active = True
        session.add(account)
        token = accounts.invite(session, account)
        _record(session, visitor, "link made", account)
    return _page(request, visitor, link=_link(request, token), whose=account.name)


@router.post("/accounts/{account_id}/end")
def end(request: Request, visitor: Administrator, form: Form, account_id: Id) -> Response:
    """Ends an account; what it judged stays."""
    with site_of(request).database.writing() as session:
        account = session.get(Account, account_id)
        if account is None:
            missing()
        if account.id == visitor.account.id:
            problem = "You can't end your own account; another administrator can."
        else:
            problem = None
            accounts.deactivate(session, account)
            _record(session, visitor, "account ended", account)
    if problem:
        return _page(request, visitor, 400, problem=problem)
    return go("/accounts?after=ended")


@router.post("/assign")
def assign(request: Request, visitor: Administrator, form: Form) -> Response:
    """Deals the rows to the reviewers anew."""
    assignment.deal(site_of(request).database, visitor.account.id, visitor.address)
    return go("/?after=assigned")


@router.get("/audit")
def audit(
    request: Request,
    visitor: Administrator,
    page_number: Annotated[Page, Query(alias="page")] = 1,
) -> Response:
    """Shows the audit log, latest first."""
    with site_of(request).database.reading() as session:
        names = dict(session.exec(select(Account.id, Account.name)).all())
        latest = select(AuditEntry).order_by(AuditEntry.id.desc())
        found = session.exec(latest.offset((page_number - 1) * _ENTRIES).limit(_ENTRIES + 1)).all()
    values = {"entries": found[:_ENTRIES], "more": len(found) > _ENTRIES, "names": names}
    return page(request, visitor, "audit.html", **values, page_number=page_number)


def _page(
    request: Request,
    visitor: Visitor,
    status: int = 200,
    problem: str | None = None,
    link: str | None = None,
    whose: str = "",
    name: str = "",
) -> Response:
    with site_of(request).database.reading() as session:
        people = session.exec(select(Account).order_by(Account.id)).all()
    values = {"people": people, "problem": problem, "link": link, "whose": whose, "name": name}
    return page(request, visitor, "accounts.html", status, **values, roles=ROLES)


def _record(session: Session, visitor: Visitor, action: str, account: Account) -> None:
    detail = f"{account.pseudonym}, {account.role}"
    record(session, action, visitor.account.id, visitor.address, detail)


def _link(request: Request, token: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/invite/{token}"
