"""A request and its answer: who asks, the fields of its form, and the page that it gets."""

from __future__ import annotations

import dataclasses
import urllib.parse
from pathlib import Path
from typing import Annotated, NoReturn

import jinja2
from argon2 import PasswordHasher
from fastapi import Depends, Request
from fastapi import Path as UrlPath
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from dignified_jax.review import sessions
from dignified_jax.review.database import Database
from dignified_jax.review.tables import ADJUDICATOR, ADMIN, REVIEWER, Account
from dignified_jax.review.web.texts import FILTERS

MOST_FIELDS = 100
MOST_BYTES, MOST_BYTES_OF_STRANGERS = 20 << 20, 64 << 10
_FORM = "application/x-www-form-urlencoded"
Id = Annotated[int, UrlPath(ge=1, le=2**40)]
"""A row's number in a path."""


class RefusedError(Exception):
    """A request that is not carried out.

    Attributes:
      status: HTTP status.
      message: the reason, in plain words, for the page.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclasses.dataclass(frozen=True)
class Site:
    """Things that all requests share.

    Attributes:
      database: of the review.
      hasher: of passwords.
      secure: whether browsers reach the site over https.
      templates: of the pages.
    """

    database: Database
    hasher: PasswordHasher
    secure: bool
    templates: jinja2.Environment

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers hold `__Host-` to this host and https."""
        return "__Host-review" if self.secure else "review"

    @property
    def secret(self) -> bytes:
        """Key of blinded orders and form tokens."""
        return self.database.project.secret


@dataclasses.dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
      token: its cookie, a new one where it had none.
      is_new: whether the cookie is still to be set.
      account: whose it is, None for a stranger.
      address: of its network.
    """

    token: str
    is_new: bool
    account: Account | None
    address: str

    def may(self, *roles: str) -> bool:
        """Returns whether it has one of these roles."""
        return self.account is not None and self.account.role in roles

    @property
    def decides(self) -> bool:
        """True where it may adjudicate, and see everyone's judgments."""
        return self.may(ADJUDICATOR, ADMIN)

    @property
    def administers(self) -> bool:
        """True where it may manage accounts."""
        return self.may(ADMIN)


def site_of(request: Request) -> Site:
    """Returns the site that a request came to."""
    return request.app.state.site


def find_visitor(request: Request) -> Visitor:
    """Returns who sent a request."""
    site = site_of(request)
    token = request.cookies.get(site.cookie, "")
    address = request.client.host if request.client else ""
    if not token:
        return Visitor(sessions.new_token(), True, None, address)
    with site.database.reading() as session:
        return Visitor(token, False, sessions.account_of(session, token), address)


Anyone = Annotated[Visitor, Depends(find_visitor)]


def _member(request: Request, visitor: Anyone) -> Visitor:
    if visitor.account is None:
        if request.method == "GET":
            raise RefusedError(303, "/login")
        raise RefusedError(
            401,
            "You are not signed in any more, and nothing was saved. Sign in in another tab, come "
            "back here, reload the page and send it again.",
        )
    return visitor


def _with_role(*roles: str) -> type[Visitor]:
    def check(visitor: Member) -> Visitor:
        if not visitor.may(*roles):
            raise RefusedError(403, f"This page is for the role {' or '.join(roles)}.")
        return visitor

    return Annotated[Visitor, Depends(check)]


Member = Annotated[Visitor, Depends(_member)]
Judge = _with_role(REVIEWER, ADJUDICATOR, ADMIN)
Decider = _with_role(ADJUDICATOR, ADMIN)
Administrator = _with_role(ADMIN)


class Fields:
    """Fields of a form that one of our pages sent."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def all(self, name: str) -> list[str]:
        """Returns the values of a field, none where it was not sent."""
        return [value for key, value in self._pairs if key == name]

    def one(self, name: str) -> str:
        """Returns the value of a field, "" where it was not sent."""
        return next(iter(self.all(name)), "")


async def _read_form(request: Request, visitor: Anyone) -> Fields:
    """Reads a form, no larger than there is reason for, and checks that it is ours."""
    most = MOST_BYTES_OF_STRANGERS if visitor.account is None else MOST_BYTES
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise RefusedError(
                413, f"The form is larger than {most >> 10:,} KiB; nothing was saved."
            )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != _FORM:
            raise ValueError(f"expected {_FORM}, found {kind[:80]!r}")
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise RefusedError(400, f"The form can't be read: {error}.") from error
    fields = Fields(pairs)
    if visitor.is_new or not sessions.is_ours(
        site_of(request).secret, visitor.token, fields.one("form_token")
    ):
        raise RefusedError(
            403,
            "This form did not come from a page of this site, or you have signed in or out since "
            "it was shown. Nothing was saved: go back, reload the page and send it again.",
        )
    return fields


Form = Annotated[Fields, Depends(_read_form)]


def page(
    request: Request, visitor: Visitor, template: str, status: int = 200, **values: object
) -> Response:
    """Returns a page; a stranger's first one sets the cookie that its forms will be known by."""
    site = site_of(request)
    text = site.templates.get_template(template).render(
        visitor=visitor,
        account=visitor.account,
        form_token=sessions.form_token(site.secret, visitor.token),
        path=request.url.path,
        **values,
    )
    response = HTMLResponse(text, status)
    if visitor.is_new:
        set_cookie(response, site, visitor.token)
    return response


def set_cookie(response: Response, site: Site, token: str) -> None:
    """Gives a browser its cookie, which scripts can't read and other sites' forms don't send."""
    response.set_cookie(
        site.cookie,
        token,
        max_age=int(sessions.LIFETIME.total_seconds()),
        path="/",
        secure=site.secure,
        httponly=True,
        samesite="lax",
    )


def go(path: str) -> RedirectResponse:
    """Returns a redirection to one of our pages, after a form or to what is next."""
    return RedirectResponse(path, 303)


def missing() -> NoReturn:
    """Refuses a request for what does not exist."""
    raise RefusedError(404, "There is no such page.")


@jinja2.pass_context
def _token_field(context: jinja2.runtime.Context) -> Markup:
    field = Markup('<input type="hidden" name="form_token" value="{}">')
    return field.format(context["form_token"])


def load_templates() -> jinja2.Environment:
    """Loads the templates of the pages, in which every value is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals["token_field"] = _token_field
    return environment
