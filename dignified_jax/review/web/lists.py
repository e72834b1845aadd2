"""The first page and the lists of pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dignified_jax.review import progress
from dignified_jax.review.web.site import Judge, Member, page, site_of

router = APIRouter()
Page = Annotated[int, Query(ge=1, le=1_000_000)]


@router.get("/")
def home(
    request: Request, visitor: Member, after: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Shows what waits for the visitor, and to those who decide how far everyone is."""
    with site_of(request).database.reading() as session:
        mine = progress.progress_of(session, visitor.account.id)
        everyone = progress.progress(session) if visitor.decides else []
        states = progress.states(session) if visitor.decides else {}
        conflicts = len(progress.unresolved(session)) if visitor.decides else 0
    values = {"mine": mine, "everyone": everyone, "states": states, "conflicts": conflicts}
    return page(request, visitor, "home.html", **values, after=after)


@router.get("/mine")
def mine(
    request: Request,
    visitor: Judge,
    page_number: Annotated[Page, Query(alias="page")] = 1,
    show: Literal["", "to do", "done"] = "",
) -> Response:
    """Lists the pairs of the visitor's queue."""
    with site_of(request).database.reading() as session:
        listed, more = progress.page_of_pairs(
            session, page_number, show or None, visitor.account.id
        )
    return page(
        request,
        visitor,
        "list.html",
        title="My pairs",
        listed=listed,
        more=more,
        page_number=page_number,
        show=show,
        choices=("", "to do", "done"),
        states_shown=False,
    )
