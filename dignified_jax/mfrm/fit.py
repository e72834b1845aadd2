"""`fit`: the public function. Checks what it is given, then runs one jitted program."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp

from dignified_jax.mfrm import anchors as anchoring
from dignified_jax.mfrm import errors, laplace, ratings, ridge
from dignified_jax.mfrm.blocks import Blocks, as_blocks, totals
from dignified_jax.mfrm.checks import refuse_options, refuse_values, traced
from dignified_jax.mfrm.design import CENTERS, Center, Design
from dignified_jax.mfrm.mesh import explicit_mesh, over_mesh
from dignified_jax.mfrm.moments import Parameters, log_likelihood
from dignified_jax.mfrm.result import (
    ALL_FAILURES,
    ALL_SUCCESSES,
    FACETS,
    UNRATED,
    Extreme,
    Fit,
    Precision,
    without_estimate,
)
from dignified_jax.mfrm.status import CONVERGED, Status

Method = Literal["ridge", "laplace"]
METHODS: tuple[Method, ...] = ("ridge", "laplace")


def fit(
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    center: Center = "model",
    method: Method = "ridge",
    precision: Precision | None = None,
    anchors: anchoring.Anchors | None = None,
    allow_disconnected: bool = False,
    tolerance: jax.typing.ArrayLike | None = None,
    max_iterations: jax.typing.ArrayLike = 100,
) -> Fit:
    """Fits the many-facet Rasch model to yes/no judgments.

        logit P(success) = intercept_m + theta_mq - judge_j - rubric_i - question_q

    Linacre, "Many-Facet Rasch Measurement" (1989), with a model-by-question interaction theta.
    Works under `jax.jit` and `jax.vmap` and on sharded arrays (shard the question axis). A pass
    over the ratings costs O(ratings); standard errors are exact, from the inverse information.

    Under tracing, values can't be read: bad ones then set `status` (and make estimates NaN), and
    whether the design is connected is not checked; `mfrm.subsets` does that.

    Args:
      successes: (model, question, judge, rubric) numbers of positive judgments.
      trials: numbers of judgments, 0 where not rated; None for one of each.
      center: what the prior of theta is centred on: an intercept for each "model" (default), one
        "grand" intercept, or "zero". The last two shrink the differences between models.
      method: "ridge", penalised maximum likelihood with the given precisions; or "laplace",
        marginal maximum likelihood with theta and question random and their variances estimated.
      precision: of the ridge priors; None for 1 everywhere. Not for laplace.
      anchors: facet ("judge", "rubric", "question") -> known values, NaN for levels to estimate.
        An anchored facet does not sum to zero; its free levels keep their prior, of mean 0.
      allow_disconnected: fit subsets together although only the priors join them.
      tolerance: on the largest change of any logit in an iteration (laplace: and of any log
        variance); None for 5e-5 in float32 and 1e-9 in float64.
      max_iterations: steps tried, each a pass over the ratings.

    Returns:
      `Fit`; see its `converged`, `status` and `message`.

    Raises:
      ValueError: naming the argument, for shapes, options, counts, levels without ratings.
      DisconnectedError: a ValueError with the subsets.
    """
    if center not in CENTERS:
        raise ValueError(f"center must be one of {', '.join(CENTERS)}, found {center!r}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, found {method!r}")
    if method == "laplace" and precision is not None:
        raise ValueError("method 'laplace' estimates its precisions: leave precision out")
    successes, trials = ratings.as_counts(successes, trials)
    dtype = successes.dtype
    fixed = anchoring.as_anchors(anchors, dict(zip(FACETS, successes.shape, strict=True)), dtype)
    if precision is None:
        precision = Precision()
    refuse_options(precision, tolerance, max_iterations)
    mesh = explicit_mesh(successes, trials)
    if not traced((successes, trials, fixed)):
        refuse_values(successes, trials, fixed, allow_disconnected, mesh)
    if tolerance is None:
        tolerance = 1e-9 if dtype == jnp.float64 else 5e-5
    return over_mesh(_estimate, mesh, center=center, method=method)(
        successes,
        trials,
        jax.tree.map(lambda value: jnp.asarray(value, dtype), precision),
        fixed,
        jnp.asarray(tolerance, dtype),
        jnp.asarray(max_iterations, jnp.int32),
    )


@functools.partial(jax.jit, static_argnames=("center", "method"))
def _estimate(
    successes: jax.Array,
    trials: jax.Array,
    precision: Precision,
    fixed: dict[str, jax.Array],
    tolerance: jax.Array,
    max_iterations: jax.Array,
    *,
    center: Center,
    method: Method,
) -> Fit:
    blocks = as_blocks(successes, trials)
    sums = totals(blocks)
    extreme = ratings.extremes(sums, blocks.judges)
    # A free intercept with only successes or only failures is infinite. In that limit its ratings
    # weigh nothing, so the rest is fitted without them.
    infinite = (extreme.model == ALL_SUCCESSES) | (extreme.model == ALL_FAILURES)
    if center == "grand":
        infinite = infinite & (extreme.model == extreme.model[0]).all()
    elif center == "zero":
        infinite = jnp.zeros_like(infinite)
    blocks = dataclasses.replace(blocks, active=1.0 - infinite.astype(blocks.active.dtype))
    design = _design(extreme, infinite, fixed, center, method)
    start = _start(blocks, fixed)
    # What can't be refused under tracing is answered with NaN, from the start.
    bad_anchors = anchoring.any_bad(fixed)
    poison = jnp.where(sums.faulty | bad_anchors, jnp.nan, 0.0).astype(start.theta.dtype)
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
    standard_error, covariance = errors.standard_errors(found.arrow, design)

    finite = found.finite & jnp.isfinite(likelihood) & jnp.isfinite(covariance).all()
    empty = jnp.any(jnp.stack([(getattr(extreme, f) == UNRATED).any() for f in FACETS]))
    cases = {
        Status.BAD_COUNTS: sums.faulty,
        Status.BAD_ANCHORS: bad_anchors,
        Status.SINGULAR: ~finite,
        Status.MAX_ITERATIONS: ~(found.change <= tolerance),
        Status.EMPTY_LEVEL: empty,
        Status.EXTREME_MODEL: infinite.any(),
        Status.VARIANCE_AT_BOUND: at_bound,
    }
    codes = [jnp.int32(code) for code in cases]
    status = jnp.select(list(cases.values()), codes, jnp.int32(Status.CONVERGED))
    estimates = {
        "theta": parameters.theta,
        "quality": parameters.intercept[:, None] + parameters.theta,
        "judge": -parameters.raters[: blocks.judges],
        "rubric": -parameters.raters[blocks.judges :],
        "question": -parameters.question,
        "intercept": parameters.intercept,
        "score": parameters.intercept + parameters.theta.mean(axis=1),
        "standard_error": standard_error,
        "score_covariance": covariance,
        "log_likelihood": likelihood,
    }
    return Fit(
        **without_estimate(estimates, extreme.model, infinite),
        precision=precision,
        extreme=extreme,
        largest_change=found.change,
        iterations=found.iterations,
        converged=jnp.isin(status, jnp.asarray(CONVERGED, jnp.int32)),
        status=status,
    )


def _design(
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
        zero_sum_question="question" not in fixed and method == "ridge",
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
    return Parameters(
        theta=theta,
        question=zeros["question"],
        raters=jnp.concatenate([zeros["judge"], zeros["rubric"]]),
        intercept=jnp.zeros_like(theta[:, 0]),
    )
