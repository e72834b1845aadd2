"""The information matrix of a fit, rebuilt from its estimates, and what it answers to questions.

H is the negated Hessian of the penalised log-likelihood at the estimates, in the zero-sum gauge.
Its inverse is the covariance matrix of the estimates, so that a solve with the weights of a linear
combination gives its covariances with everything; and if some estimates are held at values moved by
d, the others follow by -H^-1 H_held d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import Fit, Precision
from dignified_jax.mfrm.solver import arrow as arrows
from dignified_jax.mfrm.solver.arrow import Arrow, Gradient, einsum
from dignified_jax.mfrm.solver.blocks import as_blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.moments import Parameters, moments


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
    successes: jax.Array,
    trials: jax.Array,
    fixed: dict[str, jax.Array],
    *,
    hold_judges: bool = False,
) -> Information:
    """H of a fit; models without a finite score are left out.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), floating.
      trials: likewise.
      fixed: the fit's anchors, NaN for free levels.
      hold_judges: whether judges are to be held where they are.
    """
    finite = jnp.isfinite(fit.score)
    blocks = as_blocks(successes, trials)
    blocks = dataclasses.replace(blocks, active=finite.astype(fit.score.dtype))
    parameters = Parameters(
        # Where questions are random, qualities hold their mean and intercepts do not.
        theta=jnp.where(finite[:, None], fit.quality - fit.intercept[:, None], 0.0),
        question=-fit.question,
        raters=-jnp.concatenate([fit.judge, fit.rubric]),
        intercept=jnp.where(finite, fit.intercept, 0.0),
    )
    free = {
        facet: jnp.isnan(fixed[facet])
        if facet in fixed
        else jnp.ones(getattr(fit, facet).shape, bool)
        for facet in ("judge", "rubric", "question")
    }
    design = Design(
        free_judge=free["judge"] & (not hold_judges),
        free_rubric=free["rubric"],
        free_question=free["question"],
        free_model=finite,
        center=fit.center,
        zero_sum_judge="judge" not in fixed and not hold_judges,
        zero_sum_rubric="rubric" not in fixed,
        zero_sum_question="question" not in fixed,
        random_question=fit.method == "laplace",
    )
    arrow = arrows.eliminate(moments(blocks, parameters), fit.precision, design)
    return Information(arrow=arrow, design=design, precision=fit.precision)


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
    pull = {
        "judge": jnp.zeros_like(arrow.curvature, shape=design.judges),
        "rubric": jnp.zeros_like(arrow.curvature, shape=design.raters - design.judges),
        "question": jnp.zeros_like(arrow.question_inverse),
    }
    pull[facet] = weights.mean() - weights
    intercepts = jnp.zeros_like(arrow.curvature[:, 0])
    border = jnp.concatenate([pull["judge"], pull["rubric"], intercepts])
    gradient = Gradient(jnp.zeros_like(arrow.curvature), pull["question"], border)
    return _changes(arrows.solve(arrow, design, gradient), design)


def response(information: Information, shift: jax.Array) -> Changes:
    """How the estimates follow held judges whose severities are moved by `shift` (J,)."""
    arrow, design = information.arrow, information.design
    by_judge = arrow.moments.rater_weight[:, : design.judges]
    pairs = arrow.moments.pair_weight
    # Logits fall by the shift, so that residuals rise by weight times shift.
    cell = einsum("mjq,j->mq", by_judge, shift)
    raters = jnp.concatenate([pairs.sum(axis=1) * shift, pairs.T @ shift])
    start = Parameters(
        theta=jnp.zeros_like(cell),
        question=jnp.zeros_like(cell[0]),
        raters=jnp.zeros_like(raters),
        intercept=jnp.zeros_like(cell[:, 0]),
    )
    gradient = arrows.gradient(arrow, start, information.precision, cell, raters)
    return _changes(arrows.solve(arrow, design, gradient), design)


def _changes(step: Parameters, design: Design) -> Changes:
    return Changes(
        judge=-step.raters[: design.judges],
        rubric=-step.raters[design.judges :],
        question=-step.question,
        intercept=step.intercept,
        quality=step.intercept[:, None] + step.theta,
        score=step.intercept + step.theta.mean(axis=1),
    )
