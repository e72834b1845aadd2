"""The information matrix of a fit, rebuilt from its estimates, and what it answers to questions.

H is the negated Hessian of the penalised log-likelihood at the estimates, in the zero-sum gauge.
Its inverse is the covariance matrix of the estimates, so that a solve with the weights of a linear
combination gives its covariances with everything; and if some estimates are held at values moved by
d, the others follow by -H^-1 H_held d.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Fit, Precision
from dignified_jax.mfrm.solver import arrow as arrows
from dignified_jax.mfrm.solver.arrow import Arrow, Gradient
from dignified_jax.mfrm.solver.estimate import ResponseModel, blocks_of
from dignified_jax.mfrm.solver.extremes import Selection, categories_in_use
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import moments
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.start import parameters_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Information:
    """H, factored.

    Attributes:
      arrow: its factors.
      design: which estimates are free, and their constraints.
      precision: the priors' part of it.
    """

    arrow: Arrow
    design: Design
    precision: Precision


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Changes:
    """Something of every estimate but theta: shapes as in `Fit`."""

    judge: jax.Array
    rubric: jax.Array
    question: jax.Array
    intercept: jax.Array
    quality: jax.Array
    score: jax.Array


def information(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    fixed: dict[str, jax.Array],
    *,
    hold_judges: bool = False,
) -> Information:
    """H of a fit; models, judges and items without a finite estimate are left out.

    Args:
      fit: from these ratings.
      counts: (successes, trials), each (model, question, judge, rubric), floating; of ordinal fits
        (counts by category,).
      fixed: the fit's anchors, NaN for free levels.
      hold_judges: whether judges are to be held where they are.
    """
    selected = selected_in(fit)
    blocks = blocks_of(counts, model_of(fit), selected)
    parameters = parameters_of(fit)
    finite = selected.model
    free = {
        facet: xp.isnan(fixed[facet])
        if facet in fixed
        else xp.ones(getattr(fit, facet).shape, bool)
        for facet in ("judge", "rubric", "question")
    }
    design = Design(
        free_judge=free["judge"] & selected.judge & (not hold_judges),
        free_rubric=free["rubric"] & selected.rubric,
        free_question=free["question"],
        free_model=finite,
        counted_judge=selected.judge,
        counted_rubric=selected.rubric,
        step_counts=blocks.step_counts,
        center=fit.center,
        zero_sum_judge="judge" not in fixed and not hold_judges,
        zero_sum_rubric="rubric" not in fixed,
        zero_sum_question="question" not in fixed,
        random_question=fit.method != "ridge",
        scales=blocks.scales,
        steps=blocks.steps if blocks.scales else 0,
    )
    arrow = arrows.eliminate(moments(blocks, parameters), fit.precision, design)
    return Information(arrow=arrow, design=design, precision=fit.precision)


def model_of(fit: Fit) -> ResponseModel:
    """The response model of a fit. (With one item the two ordinal ones are the same.)"""
    if fit.step is None:
        return "binomial"
    return "rating_scale" if len(fit.step) == 1 else "partial_credit"


def selected_in(fit: Fit) -> Selection:
    """The levels and categories that a fit has finite estimates of."""
    items = fit.rubric.size
    if fit.step is None:
        observed = xp.ones((items, 2), bool)
    else:
        observed = categories_in_use(fit.step)
        observed = xp.broadcast_to(observed, (items, observed.shape[1]))
    codes = {facet: getattr(fit.extreme, facet) for facet in ("model", "judge", "rubric")}
    return Selection(
        model=xp.isfinite(fit.score),
        judge=xp.isfinite(fit.judge),
        rubric=xp.isfinite(fit.rubric),
        observed=observed,
        codes=codes,
    )


def covariances(information: Information, facet: str, weights: jax.Array) -> Changes:
    """Covariances of all estimates with sum of weights * measures of a facet.

    Args:
      information: H.
      facet: "judge", "rubric" or "question", summing to zero.
      weights: (L,), one a level; those of a mean sum to 1.
    """
    arrow, design = information.arrow, information.design
    # On measures that sum to zero a constant has no effect, and without it the pull is the same in
    # every gauge. Severities have their sign turned.
    steps = xp.zeros_like(arrow.curvature, shape=design.raters - design.mains)
    pull = {
        "judge": xp.zeros_like(arrow.curvature, shape=design.judges),
        "rubric": xp.zeros_like(arrow.curvature, shape=design.mains - design.judges),
        "question": xp.zeros_like(arrow.question_inverse),
    }
    counted = {"judge": design.counted_judge, "rubric": design.counted_rubric}
    inside = counted.get(facet, xp.ones(weights.shape, bool))
    mean = xp.where(inside, weights, 0.0).sum() / inside.sum()
    pull[facet] = xp.where(inside, mean - weights, 0.0)
    intercepts = xp.zeros_like(arrow.curvature[:, 0])
    border = xp.concatenate([pull["judge"], pull["rubric"], steps, intercepts])
    gradient = Gradient(xp.zeros_like(arrow.curvature), pull["question"], border)
    return _changes(arrows.solve(arrow, design, gradient), design)


def response(information: Information, shift: jax.Array) -> Changes:
    """How the estimates follow held judges whose severities are moved by `shift` (J,)."""
    arrow, design = information.arrow, information.design
    by_judge = arrow.moments.rater_weight[:, : design.judges]
    pairs = arrow.moments.pair_weight
    # Logits fall by the shift, so that residuals rise by weight times shift.
    cell = xp.einsum("mjq,j->mq", by_judge, shift)
    # Of an ordinal model, what judges and steps have in common too.
    steps = arrow.moments.step_weight
    by_step = [] if steps is None else [steps[: design.judges].T @ shift]
    raters = xp.concatenate([pairs.sum(axis=1) * shift, pairs.T @ shift, *by_step])
    start = Parameters(
        theta=xp.zeros_like(cell),
        question=xp.zeros_like(cell[0]),
        raters=xp.zeros_like(raters),
        intercept=xp.zeros_like(cell[:, 0]),
    )
    gradient = arrows.gradient(arrow, start, information.precision, cell, raters)
    return _changes(arrows.solve(arrow, design, gradient), design)


def _changes(step: Parameters, design: Design) -> Changes:
    return Changes(
        judge=-step.raters[: design.judges],
        rubric=-step.raters[design.judges : design.mains],
        question=-step.question,
        intercept=step.intercept,
        quality=step.intercept[:, None] + step.theta,
        score=step.intercept + step.theta.mean(axis=1),
    )
