"""Pairs that wait for a decision, all pairs by state, and how far reviewers agree."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dignified_jax.review import progress, ratings
from dignified_jax.review.tables import DISPUTED
from dignified_jax.review.web.lists import Page
from dignified_jax.review.web.site import Decider, Form, Visitor, page, site_of

router = APIRouter()
_REPLICATES = 200


@router.get("/adjudicate")
def waiting(
    request: Request, visitor: Decider, after: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Lists pairs that reviewers judged differently, and edits that met another's."""
    with site_of(request).database.reading() as session:
        listed, more = progress.page_of_pairs(session, 1, DISPUTED)
        conflicts = progress.unresolved(session)
    values = {"listed": listed, "more": more, "conflicts": conflicts, "after": after}
    return page(request, visitor, "adjudicate.html", **values)


@router.get("/pairs")
def all_pairs(
    request: Request,
    visitor: Decider,
    page_number: Annotated[Page, Query(alias="page")] = 1,
    show: Literal["", "open", "accepted", "rejected", "disputed"] = "",
) -> Response:
    """Lists all pairs, or those of a state."""
    with site_of(request).database.reading() as session:
        listed, more = progress.page_of_pairs(session, page_number, show or None)
    return page(
        request,
        visitor,
        "list.html",
        title="All pairs",
        listed=listed,
        more=more,
        page_number=page_number,
        show=show,
        choices=("", "open", "disputed", "accepted", "rejected"),
        states_shown=True,
    )


@router.get("/agreement")
def agreement(request: Request, visitor: Decider) -> Response:
    """Shows how far reviewers agree."""
    return _agreement(request, visitor)


@router.post("/agreement")
def severities(request: Request, visitor: Decider, form: Form) -> Response:
    """Shows the same with the reviewers' severities, which take a while to fit."""
    return _agreement(request, visitor, fit=True)


def _agreement(request: Request, visitor: Visitor, fit: bool = False) -> Response:
    database = site_of(request).database
    rubric = database.project.rubric
    with database.reading() as session:
        found = ratings.read(session, rubric)
    fitted, problem = [], None
    if fit:
        try:
            fitted = ratings.severities(found, rubric)
            fitted.sort(key=lambda each: (math.isnan(each.severity), each.severity))
        except ValueError as error:
            problem = str(error)
    return page(
        request,
        visitor,
        "agreement.html",
        agreed=ratings.agreement(found, _REPLICATES),
        items=rubric.statements("the dimension"),
        judgments=len(found),
        shown=ratings.shown,
        fitted=fitted,
        problem=problem,
    )
