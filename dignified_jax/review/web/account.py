"""Signing in and out, one-time links, passwords."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dignified_jax.review import accounts, sessions
from dignified_jax.review.audit import record
from dignified_jax.review.web.site import (
    Anyone,
    Form,
    Member,
    Visitor,
    go,
    page,
    set_cookie,
    site_of,
)

router = APIRouter()
_TOO_MANY = "Too many sign-ins failed. Wait 15 minutes, or ask for a one-time link."
_WRONG = "There is no such name and password."
_NO_LINK = "This link was used already, has expired or is incomplete. Ask for a new one."


@router.get("/login")
def login_page(request: Request, visitor: Anyone) -> Response:
    """Shows the form to sign in."""
    if visitor.account is not None:
        return go("/")
    return page(request, visitor, "login.html", problem=None, name="")


@router.post("/login")
def login(request: Request, visitor: Anyone, form: Form) -> Response:
    """Signs in with name and password; the session is a new one."""
    site = site_of(request)
    name, password = form.one("name"), form.one("password")

    def again(status: int, problem: str) -> Response:
        return page(request, visitor, "login.html", status, problem=problem, name=name)

    with site.database.reading() as session:
        try:
            accounts.check_tries(session, name, visitor.address)
        except accounts.TooManyTriesError:
            return again(429, _TOO_MANY)
        account = accounts.find(session, name)
    stored = account.password_hash if account is not None and account.active else None
    too_long = len(password) > accounts.LONGEST_PASSWORD
    # Not in a transaction, for it is slow on purpose.
    if too_long or not accounts.matches(site.hasher, stored, password):
        with site.database.writing() as session:
            accounts.note_failure(session, name, visitor.address)
        return again(401, _WRONG)
    assert account is not None
    with site.database.writing() as session:
        token = sessions.begin(session, account, visitor.token)
        record(session, "sign-in", account.id, visitor.address)
    return _signed_in(request, token, "/")


@router.post("/logout")
def logout(request: Request, visitor: Member, form: Form) -> Response:
    """Signs out."""
    site = site_of(request)
    with site.database.writing() as session:
        sessions.end(session, visitor.token)
        record(session, "sign-out", visitor.account.id, visitor.address)
    return _signed_in(request, sessions.new_token(), "/login")


@router.get("/invite/{token}")
def invitation_page(request: Request, visitor: Anyone, token: str) -> Response:
    """Shows whose link it is; a program that previews links uses none up."""
    with site_of(request).database.reading() as session:
        account = accounts.invited(session, token)
    if account is None:
        return page(request, visitor, "error.html", 404, message=_NO_LINK)
    return page(request, visitor, "invite.html", name=account.name, token=token)


@router.post("/invite/{token}")
def use_invitation(request: Request, visitor: Anyone, form: Form, token: str) -> Response:
    """Signs in with a one-time link."""
    site = site_of(request)
    with site.database.writing() as session:
        try:
            accounts.check_tries(session, "", visitor.address)
        except accounts.TooManyTriesError:
            return page(request, visitor, "error.html", 429, message=_TOO_MANY)
        account = accounts.use_invitation(session, token)
        if account is None:
            accounts.note_failure(session, "", visitor.address)
        else:
            fresh = sessions.begin(session, account, visitor.token)
            record(session, "sign-in by link", account.id, visitor.address)
    if account is None:
        return page(request, visitor, "error.html", 404, message=_NO_LINK)
    return _signed_in(request, fresh, "/account")


@router.get("/account")
def account_page(request: Request, visitor: Member) -> Response:
    """Shows the form that sets a password."""
    return _account(request, visitor)


@router.post("/account")
def set_password(request: Request, visitor: Member, form: Form) -> Response:
    """Sets a password; all other sessions of the account end."""
    site = site_of(request)
    password = form.one("password")
    stored, current = visitor.account.password_hash, form.one("current")
    try:
        if stored is not None and not _current(request, visitor, stored, current):
            return _account(request, visitor, 401, "The present password is another one.")
        if password != form.one("again"):
            raise ValueError("The two new passwords differ.")
        with site.database.writing() as session:
            account = accounts.find(session, visitor.account.name)
            accounts.set_password(session, account, password, site.hasher)
            token = sessions.begin(session, account, visitor.token)
            record(session, "password set", account.id, visitor.address)
    except accounts.TooManyTriesError:
        return _account(request, visitor, 429, _TOO_MANY)
    except ValueError as error:
        return _account(request, visitor, 400, str(error))
    return _signed_in(request, token, "/?after=password")


def _current(request: Request, visitor: Visitor, stored: str, password: str) -> bool:
    site = site_of(request)
    name = visitor.account.name
    with site.database.reading() as session:
        accounts.check_tries(session, name, visitor.address)
    if accounts.matches(site.hasher, stored, password[: accounts.LONGEST_PASSWORD + 1]):
        return True
    with site.database.writing() as session:
        accounts.note_failure(session, name, visitor.address)
    return False


def _account(
    request: Request, visitor: Visitor, status: int = 200, problem: str | None = None
) -> Response:
    has_password = visitor.account.password_hash is not None
    return page(
        request,
        visitor,
        "account.html",
        status,
        problem=problem,
        has_password=has_password,
        shortest=accounts.SHORTEST_PASSWORD,
    )


def _signed_in(request: Request, token: str, path: str) -> Response:
    response = go(path)
    set_cookie(response, site_of(request), token)
    return response
