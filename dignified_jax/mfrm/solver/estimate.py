"""The jitted program behind `fit`: from counts to a `Fit`, by either method."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.result import (
    ALL_FAILURES,
    ALL_SUCCESSES,
    CONVERGED,
    FACETS,
    UNRATED,
    Extreme,
    Fit,
    Precision,
    Status,
    without_estimate,
)
from dignified_jax.mfrm.solver import laplace, ordinal, ridge, standard_errors
from dignified_jax.mfrm.solver.blocks import Blocks, as_blocks, totals
from dignified_jax.mfrm.solver.extremes import extremes
from dignified_jax.mfrm.solver.gauge import Center, Design
from dignified_jax.mfrm.solver.likelihood import log_likelihood
from dignified_jax.mfrm.solver.moments import Parameters

Method = Literal["ridge", "laplace"]
METHODS: tuple[Method, ...] = ("ridge", "laplace")
Model = Literal["binomial", "rating_scale", "partial_credit"]
MODELS: tuple[Model, ...] = ("binomial", "rating_scale", "partial_credit")


def blocks_of(counts: tuple[jax.Array, ...], model: Model) -> Blocks:
    """From (successes, trials) of the binomial model, or from (counts by category,)."""
    if model == "binomial":
        return as_blocks(*counts)
    return ordinal.as_blocks(*counts, common=model == "rating_scale")


@functools.partial(jax.jit, static_argnames=("model", "center", "method"))
def estimate(
    counts: tuple[jax.Array, ...],
    precision: Precision,
    fixed: dict[str, jax.Array],
    tolerance: jax.Array,
    max_iterations: jax.Array,
    *,
    model: Model,
    center: Center,
    method: Method,
) -> Fit:
    """See `fit`; counts as `blocks_of` takes them."""
    blocks = blocks_of(counts, model)
    sums = totals(blocks)
    extreme = extremes(sums, blocks.judges)
    # A free intercept with only successes or only failures is infinite. In that limit its ratings
    # weigh nothing, so the rest is fitted without them.
    infinite = (extreme.model == ALL_SUCCESSES) | (extreme.model == ALL_FAILURES)
    if center == "grand":
        infinite = infinite & (extreme.model == extreme.model[0]).all()
    elif center == "zero":
        infinite = jnp.zeros_like(infinite)
    blocks = dataclasses.replace(blocks, active=1.0 - infinite.astype(blocks.active.dtype))
    design = _design(blocks, extreme, infinite, fixed, center, method)
    unobserved = ordinal.unobserved(blocks).any() if blocks.scales else jnp.asarray(False)
    start = _start(blocks, fixed)
    # What can't be refused under tracing is answered with NaN, from the start.
    bad_anchors = anchoring.any_bad(fixed)
    poison = jnp.where(sums.faulty | bad_anchors | unobserved, jnp.nan, 0.0).astype(
        start.theta.dtype
    )
    start = dataclasses.replace(start, theta=start.theta + poison)
    limits = {"tolerance": tolerance, "max_iterations": max_iterations}
    at_bound = jnp.asarray(False)
    if method == "ridge":
        found = ridge.maximise(blocks, start, precision, design, **limits)
        parameters = found.trial
        likelihood = log_likelihood(blocks, parameters)
    else:
        found = laplace.maximise(blocks, start, design, **limits)
        parameters, precision, at_bound = found.parameters, found.precision(), found.at_bound()
        likelihood = laplace.marginal_log_likelihood(blocks, parameters, found.arrow, precision)
        parameters = laplace.posterior_mean(found.arrow, parameters)
    standard_error, covariance = standard_errors.standard_errors(found.arrow, design)

    finite = found.finite & jnp.isfinite(likelihood) & jnp.isfinite(covariance).all()
    empty = jnp.any(jnp.stack([(getattr(extreme, f) == UNRATED).any() for f in FACETS]))
    cases = {
        Status.BAD_COUNTS: sums.faulty,
        Status.BAD_ANCHORS: bad_anchors,
        Status.UNOBSERVED_CATEGORY: unobserved,
        Status.SINGULAR: ~finite,
        Status.MAX_ITERATIONS: ~(found.change <= tolerance),
        Status.EMPTY_LEVEL: empty,
        Status.EXTREME_MODEL: infinite.any(),
        Status.VARIANCE_AT_BOUND: at_bound,
    }
    codes = [jnp.int32(code) for code in cases]
    status = jnp.select(list(cases.values()), codes, jnp.int32(Status.CONVERGED))
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
        estimates["step"] = -parameters.raters[design.mains :].reshape(sets)
    return Fit(
        **without_estimate(estimates, extreme.model, infinite),
        precision=precision,
        extreme=extreme,
        largest_change=found.change,
        iterations=found.iterations,
        converged=jnp.isin(status, jnp.asarray(CONVERGED, jnp.int32)),
        status=status,
        center=center,
        method=method,
    )


def _design(
    blocks: Blocks,
    extreme: Extreme,
    infinite: jax.Array,
    fixed: dict[str, jax.Array],
    center: Center,
    method: Method,
) -> Design:
    free = {
        facet: jnp.isnan(fixed[facet])
        if facet in fixed
        else jnp.ones(getattr(extreme, facet).shape, bool)
        for facet in anchoring.ANCHORABLE
    }
    return Design(
        free_judge=free["judge"],
        free_rubric=free["rubric"],
        free_question=free["question"],
        free_model=(extreme.model != UNRATED) & ~infinite,
        center=center,
        zero_sum_judge="judge" not in fixed,
        zero_sum_rubric="rubric" not in fixed,
        zero_sum_question="question" not in fixed,
        random_question=method == "laplace",
        scales=blocks.scales,
        steps=blocks.steps if blocks.scales else 0,
    )


def _start(blocks: Blocks, fixed: dict[str, jax.Array]) -> Parameters:
    """Zeros made from the data, so that they have its sharding; anchors with their sign turned."""
    theta = jnp.zeros_like(blocks.trials[:, 0])
    zeros = {
        "judge": jnp.zeros(blocks.judges, theta.dtype),
        "rubric": jnp.zeros(blocks.items, theta.dtype),
        "question": jnp.zeros_like(theta[0]),
    }
    for facet, values in fixed.items():
        zeros[facet] = jnp.where(jnp.isnan(values), 0.0, -values)
    steps = jnp.zeros(blocks.scales * blocks.steps, theta.dtype)
    return Parameters(
        theta=theta,
        question=zeros["question"],
        raters=jnp.concatenate([zeros["judge"], zeros["rubric"], steps]),
        intercept=jnp.zeros_like(theta[:, 0]),
    )
