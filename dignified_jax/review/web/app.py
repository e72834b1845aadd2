"""The web application: its routes, and what guards all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from dignified_jax.review.database import Database
from dignified_jax.review.web import account, adjudicate, admin, edit, judge, lists
from dignified_jax.review.web.guard import Guard
from dignified_jax.review.web.site import RefusedError, Site, find_visitor, go, load_templates, page


def create_app(
    database: Database,
    hasher: PasswordHasher | None = None,
    hosts: Sequence[str] = ("127.0.0.1", "localhost", "[::1]"),
    secure: bool = False,
) -> Guard:
    """Returns the application of a review.

    Args:
      database: open.
      hasher: of passwords; None for Argon2id as argon2-cffi has it by default.
      hosts: names that browsers may call the site by; other names are refused.
      secure: whether browsers reach it over https: cookies are then bound to that.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = Site(database, hasher or PasswordHasher(), secure, load_templates())
    for routes in (account, judge, edit, lists, adjudicate, admin):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        if error.status == 303:
            return go(error.message)
        return _error(request, error.status, error.message)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        known = {404: "There is no such page.", 405: "This page can't be used so."}
        return _error(request, error.status_code, known.get(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        return _error(request, 404, "There is no such page.")

    @app.exception_handler(OSError)
    def not_saved(request: Request, error: OSError) -> Response:
        reason = f"Nothing was saved: {error}. Go back and send it again."
        return _error(request, 503, reason)

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        reason = "The server made a mistake, which its terminal tells. Nothing was saved."
        return _error(request, 500, reason)

    return Guard(app, hosts, secure)


def _error(request: Request, status: int, message: str) -> Response:
    return page(request, find_visitor(request), "error.html", status, message=message)
