"""The jitted program behind `fit`: from counts to a `Fit`, by either method."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.result import (
    ALL_SUCCESSES,
    CONVERGED,
    FACETS,
    MIXED,
    UNRATED,
    Extreme,
    Fit,
    Precision,
    Status,
    without_estimate,
)
from dignified_jax.mfrm.solver import extremes, laplace, marginal, ordinal, ridge, standard_errors
from dignified_jax.mfrm.solver import start as starting
from dignified_jax.mfrm.solver.blocks import Blocks, Totals, as_blocks, totals
from dignified_jax.mfrm.solver.extremes import Selection
from dignified_jax.mfrm.solver.gauge import Center, Design
from dignified_jax.mfrm.solver.likelihood import log_likelihood
from dignified_jax.mfrm.solver.start import Start

FitMethod = Literal["ridge", "laplace", "quadrature"]
METHODS: tuple[FitMethod, ...] = ("ridge", "laplace", "quadrature")
ResponseModel = Literal["binomial", "rating_scale", "partial_credit"]
MODELS: tuple[ResponseModel, ...] = ("binomial", "rating_scale", "partial_credit")


def select(
    counts: tuple[jax.Array, ...],
    fixed: dict[str, jax.Array],
    *,
    model: ResponseModel,
    center: Center,
    method: FitMethod,
) -> Selection:
    """Which levels and categories a fit has finite estimates of; see `extremes`."""
    if model == "binomial":
        successes, trials = counts
        # Failures before the sums, which single precision may round.
        by_pair = xp.stack([(trials - successes).sum(axis=1), successes.sum(axis=1)], axis=-1)
    else:
        by_pair = counts[0].sum(axis=1)
    removable = {"model": xp.full(by_pair.shape[0], center != "zero")}
    for facet, size in zip(("judge", "rubric"), by_pair.shape[1:3], strict=True):
        # The priors of the ridge keep every judge and item finite.
        free = xp.isnan(fixed[facet]) if facet in fixed else xp.ones(size, bool)
        removable[facet] = free & (method != "ridge")
    return extremes.select(
        by_pair,
        ordinal=model != "binomial",
        common=model == "rating_scale",
        removable=removable,
        together=center == "grand",
    )


def blocks_of(counts: tuple[jax.Array, ...], model: ResponseModel, selected: Selection) -> Blocks:
    """From (successes, trials) of the binomial model, or (counts by category,), what is selected.

    Models that are not are inactive, judges and items have no ratings, categories are closed up.
    """
    inside = selected.pairs(counts[0].dtype)
    active = selected.model.astype(counts[0].dtype)
    if model == "binomial":
        blocks = as_blocks(*(array * inside for array in counts))
    else:
        inside = active[:, None, None, None] * inside
        closed = extremes.close_up(counts[0] * inside[..., None], selected.observed)
        blocks = ordinal.as_blocks(closed, model == "rating_scale", selected.steps())
    return dataclasses.replace(blocks, active=active)


@xp.program("model", "center", "method")
def estimate(
    counts: tuple[jax.Array, ...],
    precision: Precision,
    fixed: dict[str, jax.Array],
    tolerance: jax.Array,
    max_iterations: jax.Array,
    near: Start | None = None,
    *,
    model: ResponseModel,
    center: Center,
    method: FitMethod,
) -> Fit:
    """See `fit`; counts as `blocks_of` takes them; `near`: where to begin, if not from sums."""
    selected = select(counts, fixed, model=model, center=center, method=method)
    blocks = blocks_of(counts, model, selected)
    sums = totals(blocks)
    informed = _informed(sums, blocks)
    extreme = _extreme(counts, sums, blocks, selected, informed)
    infinite = ~selected.model
    unknown = ~informed["model"] & ~infinite
    undetermined = (unknown & (extreme.model != UNRATED)).any()
    nobody_left = ~selected.judge.any() | ~selected.rubric.any()
    design = _design(blocks, selected, informed, fixed, center, method)
    unobserved = (selected.steps() == 0).all() if blocks.scales else xp.asarray(False)
    log_precision = 0.0 if near is None else near.log_precision
    if near is None:
        start = starting.from_margins(blocks, sums, fixed, precision, design)
    else:
        start = starting.constrained(near.parameters, design)
    # What can't be refused under tracing is answered with NaN, from the start.
    bad_anchors = anchoring.any_bad(fixed)
    poison = xp.where(sums.faulty | bad_anchors | unobserved, xp.nan, 0.0).astype(start.theta.dtype)
    start = dataclasses.replace(start, theta=start.theta + poison)
    limits = {"tolerance": tolerance, "max_iterations": max_iterations}
    at_bound = xp.asarray(False)
    if method == "ridge":
        found = ridge.maximise(blocks, start, precision, design, **limits)
        parameters = found.trial
        likelihood = log_likelihood(blocks, parameters)
    elif method == "quadrature":
        confounded = _confounded(sums, blocks, design)
        found = marginal.maximise(
            blocks, start, design, hold_question=confounded, log_precision=log_precision, **limits
        )
        precision, at_bound = found.precision(), found.at_bound()
        likelihood, left = found.log_likelihood, found.left
        standard_error, parameters, covariance = standard_errors.marginal_standard_errors(
            found, design
        )
    else:
        found = laplace.maximise(blocks, start, design, log_precision=log_precision, **limits)
        parameters, precision, at_bound = found.parameters, found.precision(), found.at_bound()
        likelihood = laplace.marginal_log_likelihood(blocks, parameters, found.arrow, precision)
        parameters = laplace.posterior_mean(found.arrow, parameters)
    if method != "quadrature":
        left = found.change
        standard_error, covariance = standard_errors.standard_errors(found.arrow, design)

    finite = found.finite & xp.isfinite(likelihood) & xp.isfinite(covariance).all()
    empty = xp.any(xp.stack([(getattr(extreme, f) == UNRATED).any() for f in FACETS]))
    cases = [
        (Status.BAD_COUNTS, sums.faulty),
        (Status.BAD_ANCHORS, bad_anchors),
        # How a search without ratings ended tells nothing.
        (Status.UNDETERMINED_MODEL, undetermined & nobody_left),
        (Status.UNOBSERVED_CATEGORY, unobserved),
        (Status.SINGULAR, ~finite),
        (Status.MAX_ITERATIONS, ~(left <= tolerance)),
        (Status.UNDETERMINED_MODEL, undetermined),
        (Status.EMPTY_LEVEL, empty),
        (Status.EXTREME_MODEL, infinite.any()),
        (Status.EXTREME_LEVEL, ~selected.judge.all() | ~selected.rubric.all()),
        (Status.CONFOUNDED_VARIANCES, _confounded(sums, blocks, design)),
        # A single question leaves nothing to vary.
        (Status.VARIANCE_AT_BOUND, at_bound & (start.theta.shape[-1] > 1)),
    ]
    codes = [xp.int32(code) for code, _ in cases]
    status = xp.select([found for _, found in cases], codes, xp.int32(Status.CONVERGED))
    # Random questions have a mean, which is the qualities' here and not the intercepts'.
    shift = parameters.question.mean() if design.zero_sum_question else 0.0
    estimates = {
        "theta": parameters.theta,
        "quality": parameters.intercept[:, None] + parameters.theta + shift,
        "judge": -parameters.raters[: blocks.judges],
        "rubric": -parameters.raters[blocks.judges : design.mains],
        "question": shift - parameters.question,
        "intercept": parameters.intercept,
        "score": parameters.intercept + parameters.theta.mean(axis=1) + shift,
        "standard_error": standard_error,
        "score_covariance": covariance,
        "log_likelihood": likelihood,
    }
    if blocks.scales:
        sets = (blocks.scales, blocks.steps)
        observed = selected.observed[: blocks.scales]
        step = extremes.open_up(-parameters.raters[design.mains :].reshape(sets), observed)
        error = extremes.open_up(standard_error.step, observed)
        error = xp.where(xp.isfinite(step), error, xp.nan)
        estimates["step"] = step
        estimates["standard_error"] = dataclasses.replace(standard_error, step=error)
    limits = {
        "judge": _limit(selected.judge, selected.codes["judge"], design.counted_judge),
        "rubric": _limit(selected.rubric, selected.codes["rubric"], design.counted_rubric),
    }
    for facet in fixed:
        limits.pop(facet, None)
    return Fit(
        **without_estimate(estimates, extreme.model, infinite, unknown, limits),
        precision=precision,
        extreme=extreme,
        largest_change=left,
        iterations=found.iterations,
        converged=xp.isin(status, xp.asarray(CONVERGED, xp.int32)),
        status=status,
        center=center,
        method=method,
    )


def _informed(sums: Totals, blocks: Blocks) -> dict[str, jax.Array]:
    """Facet -> (L,) bool: levels that a rating is left of."""
    rated = sums.rated * blocks.active[:, None, None]
    by_cell = rated[:, : blocks.judges].sum(axis=1)
    by_rater = rated.sum(axis=(0, 2))
    return {
        "model": by_cell.sum(axis=1) > 0,
        "question": by_cell.sum(axis=0) > 0,
        "judge": by_rater[: blocks.judges] > 0,
        "rubric": by_rater[blocks.judges :] > 0,
    }


def _extreme(
    counts: tuple[jax.Array, ...],
    sums: Totals,
    blocks: Blocks,
    selected: Selection,
    informed: dict[str, jax.Array],
) -> Extreme:
    """Codes of cells and levels; of questions from the models that are left."""
    rated = counts[-1].sum(axis=tuple(range(2, counts[-1].ndim)))
    by_judge = [
        a[:, : blocks.judges].sum(axis=1) for a in (sums.rated, sums.successes, sums.missed)
    ]
    cell = extremes.extreme_code(*by_judge)
    of_model = xp.where(rated > 0, selected.codes["model"][:, None], xp.int8(UNRATED))
    active = blocks.active[:, None]
    question = extremes.extreme_code(*((active * a).sum(axis=0) for a in by_judge))
    unrated = rated.sum(axis=0) == 0
    return Extreme(
        cell=xp.where(selected.model[:, None], cell, of_model),
        model=selected.codes["model"],
        question=xp.where(informed["question"] | unrated, question, xp.int8(MIXED)),
        judge=selected.codes["judge"],
        rubric=selected.codes["rubric"],
    )


def _confounded(sums: Totals, blocks: Blocks, design: Design) -> jax.Array:
    """Scalar bool: whether random questions and answers are the same thing in these ratings."""
    if not design.random_question or not design.zero_sum_question:
        return xp.asarray(False)
    rated = (sums.rated[:, : blocks.judges].sum(axis=1) > 0) & (blocks.active[:, None] > 0)
    return (rated.sum(axis=0) <= 1).all()


def _limit(inside: jax.Array, codes: jax.Array, counted: jax.Array) -> jax.Array:
    """(L,) infinity for levels taken out, NaN for those of which nothing is left, else 0."""
    away = xp.where(codes == ALL_SUCCESSES, -xp.inf, xp.inf)
    return xp.where(~inside, away, xp.where(counted, 0.0, xp.nan))


def _design(
    blocks: Blocks,
    selected: Selection,
    informed: dict[str, jax.Array],
    fixed: dict[str, jax.Array],
    center: Center,
    method: FitMethod,
) -> Design:
    free = {
        facet: xp.isnan(fixed[facet]) if facet in fixed else xp.ones(levels.shape, bool)
        for facet, levels in informed.items()
    }
    # The ridge's priors hold levels without ratings; those of laplace are left out.
    counted = {facet: informed[facet] | (method == "ridge") for facet in ("judge", "rubric")}
    return Design(
        free_judge=free["judge"] & counted["judge"],
        free_rubric=free["rubric"] & counted["rubric"],
        free_question=free["question"],
        free_model=selected.model & informed["model"],
        counted_judge=counted["judge"],
        counted_rubric=counted["rubric"],
        step_counts=blocks.step_counts,
        center=center,
        zero_sum_judge="judge" not in fixed,
        zero_sum_rubric="rubric" not in fixed,
        zero_sum_question="question" not in fixed,
        random_question=method != "ridge",
        scales=blocks.scales,
        steps=blocks.steps if blocks.scales else 0,
    )
