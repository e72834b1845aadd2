"""The Newton system of the many-facet model, solved by eliminating its arrow.

The Hessian (negated, with the priors' precisions) is diagonal in theta; eliminating theta leaves
it diagonal in the questions; eliminating those leaves a dense border (judge, rubric, steps of an
ordinal model, intercept) of length P = R + M. With W_mq the cell's weight, h_mq (P,) its weights
by rater and W_mq at its model's intercept,

    D = W + p_theta      kappa = p_theta / D      f = W / D = 1 - kappa
    S_q = sum_m kappa W + p_question              K_q = sum_m kappa h_mq
    B = sum h-by-h weights + priors - sum_mq h h' / D - sum_q K_q K_q' / S_q

The zero sum of the questions changes their inverse block to 1/S_q - g (1/S_q)(1/S_q'), which adds
g c c' to B with c = sum_q K_q / S_q. Under a constraint 1/g = sum_q 1/S_q. With a question held at
0 instead (see `design`) its 1/S is 0, the prior is on deviations from the mean, p_question less
p_question / Q everywhere, and 1/g = sum_q 1/S_q - Q / p_question (Sherman & Morrison).

Quantities that are small differences on paper (p_theta -> 0) are written as sums of positive
terms: W - W^2/D = kappa W; R - f (R - p theta) = kappa R + f p theta for a residual R.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import moments
from dignified_jax.mfrm.solver.moments import Moments, Parameters


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Arrow:
    """The eliminated Hessian at one point.

    Attributes:
      moments: the sums it is made of.
      curvature: (M, Q) D.
      shrink: (M, Q) kappa.
      follow: (M, Q) f.
      question_inverse: (Q,) 1/S, 0 where anchored or held.
      question_pull: scalar g, 0 without the zero sum.
      coupling: (P, Q) K.
      covariance: (P, P) inverse of B over the free border, in the gauge of the solve.
    """

    moments: Moments
    curvature: jax.Array
    shrink: jax.Array
    follow: jax.Array
    question_inverse: jax.Array
    question_pull: jax.Array
    coupling: jax.Array
    covariance: jax.Array


class Gradient(NamedTuple):
    """Gradient with theta, then the questions' coupling to theta, eliminated.

    Attributes:
      theta: (M, Q).
      question: (Q,).
      border: (P,).
    """

    theta: jax.Array
    question: jax.Array
    border: jax.Array


def eliminate(sums: Moments, precision: Precision, design: Design) -> Arrow:
    """Factors the Hessian; O(ratings) but for P^2 (Q + P). NaN where it is not definite."""
    curvature = sums.weight + precision.theta
    shrink = precision.theta / curvature
    shared = shrink * sums.weight

    # Model by model, which on CPUs is far faster than contractions over two axes.
    def absorb(carry, model):
        weights, curvature, shrink = model
        products, by_question = carry
        products = products + xp.einsum("rq,sq->rs", weights / curvature, weights)
        return (products, by_question + shrink * weights), xp.einsum("rq,q->r", weights, shrink)

    by_rater = sums.rater_weight
    start = xp.zeros((design.raters, design.raters), shared.dtype), xp.zeros_like(by_rater[0])
    (products, by_question), by_model = xp.scan(absorb, start, (by_rater, curvature, shrink))
    coupling = xp.concatenate([by_question, shared])
    inverse, pull = _question_block(shared.sum(axis=0), precision.question, design)

    raters = _rater_block(products, by_model.sum(axis=0), sums)
    raters = raters + _priors(design, precision, raters.dtype)
    border = xp.block([[raters, by_model.T], [by_model, xp.diag(shared.sum(axis=1))]])
    border = border - xp.einsum("pq,rq->pr", coupling * inverse, coupling)
    constraint = xp.einsum("pq,q->p", coupling, inverse)
    border = border + pull * xp.outer(constraint, constraint)
    moving = design.moving(xp.diag(raters))
    spread = xp.where(moving, design.spread(border.dtype), 0.0)
    return Arrow(
        moments=sums,
        curvature=curvature,
        shrink=shrink,
        follow=sums.weight / curvature,
        question_inverse=inverse,
        question_pull=pull,
        coupling=coupling,
        covariance=invert(border, spread, moving),
    )


def placeholder(
    blocks: Blocks,
    parameters: Parameters,
    precision: Precision,
    design: Design,
    *,
    skew: bool = False,
) -> Arrow:
    """Zeros in the shapes of an arrow, to start a loop that carries one."""
    return xp.zeros_of(lambda: eliminate(moments(blocks, parameters, skew=skew), precision, design))


def gradient(
    arrow: Arrow,
    parameters: Parameters,
    precision: Precision,
    residual: jax.Array | None = None,
    rater_residual: jax.Array | None = None,
) -> Gradient:
    """The eliminated gradient; residuals (M, Q) and (R,) are the moments' own unless given."""
    sums = arrow.moments
    residual = sums.residual if residual is None else residual
    rater_residual = sums.rater_residual if rater_residual is None else rater_residual
    penalty = precision.theta * parameters.theta
    theta = residual - penalty
    carried = arrow.shrink * residual + arrow.follow * penalty
    question = carried.sum(axis=0) - precision.question * parameters.question
    prior = rater_precision(precision, parameters.raters, *sums.pair_weight.shape)
    raters = (
        rater_residual
        - xp.einsum("mrq,mq->mr", sums.rater_weight, theta / arrow.curvature).sum(axis=0)
        - prior * parameters.raters
    )
    return Gradient(theta, question, xp.concatenate([raters, carried.sum(axis=1)]))


def solve(
    arrow: Arrow, design: Design, gradient: Gradient, border_gradient: Gradient | None = None
) -> Parameters:
    """The Newton step; `border_gradient` is what the border answers to, if not the same."""
    outer = gradient if border_gradient is None else border_gradient
    border = arrow.covariance @ (
        outer.border - xp.einsum("pq,q->p", arrow.coupling, solve_questions(arrow, outer.question))
    )
    coupled = xp.einsum("pq,p->q", arrow.coupling, border)
    question = solve_questions(arrow, gradient.question - coupled)
    raters = design.raters
    theta = (
        gradient.theta
        - xp.einsum("r,mrq->mq", border[:raters], arrow.moments.rater_weight)
        - arrow.moments.weight * (border[raters:, None] + question)
    ) / arrow.curvature
    border = design.to_zero_sum(border)
    intercept = border[raters:]
    if design.reference_question:
        intercept = intercept + question.mean()
        question = question - question.mean()
    return Parameters(theta=theta, question=question, raters=border[:raters], intercept=intercept)


def solve_questions(arrow: Arrow, right: jax.Array) -> jax.Array:
    """(..., Q) the questions' inverse block, zero sum and anchors included, times `right`."""
    scaled = arrow.question_inverse * right
    total = arrow.question_pull * scaled.sum(axis=-1, keepdims=True)
    return scaled - arrow.question_inverse * total


def _question_block(
    information: jax.Array, precision: jax.Array, design: Design
) -> tuple[jax.Array, jax.Array]:
    """(Q,) 1/S and the scalar g."""
    inverse = xp.where(design.free_question, 1.0 / (information + precision), 0.0)
    if design.reference_question:
        held = xp.arange(information.size) == xp.argmax(information)
        inverse = xp.where(held, 0.0, inverse)
        share = precision / information.size
        return inverse, -share / (1.0 - share * inverse.sum())
    if design.constrained_question:
        return inverse, 1.0 / inverse.sum()
    return inverse, xp.zeros_like(inverse.sum())


def rater_precision(precision: Precision, raters: jax.Array, judges: int, items: int) -> jax.Array:
    """(R,) of each judge, item and step, of which the last have no prior."""
    place = xp.arange(raters.size)
    judge, rubric = (xp.asarray(p, raters.dtype) for p in (precision.judge, precision.rubric))
    return xp.where(place < judges, judge, xp.where(place < judges + items, rubric, 0.0))


def _rater_block(products: jax.Array, coupling: jax.Array, sums: Moments) -> jax.Array:
    """(R, R) sum of h-by-h weights less h h' / D, given sum h h' / D and sum kappa h.

    Within a facet that is diagonal less off-diagonal. On the diagonal
    w - w^2/D = kappa w + sum of the other levels' w w'/D, in which nothing cancels.
    """
    judges, mains = len(sums.pair_weight), sum(sums.pair_weight.shape)

    def facet(block: jax.Array, own: jax.Array) -> jax.Array:
        off = block - xp.diag(xp.diag(block))
        return xp.diag(own + off.sum(axis=1)) - off

    across = sums.pair_weight - products[:judges, judges:mains]
    block = xp.block(
        [
            [facet(products[:judges, :judges], coupling[:judges]), across],
            [across.T, facet(products[judges:mains, judges:mains], coupling[judges:mains])],
        ]
    )
    if sums.step_weight is None:
        return block
    with_steps = sums.step_weight - products[:mains, mains:]
    steps = sums.step_block - products[mains:, mains:]
    return xp.block([[block, with_steps], [with_steps.T, steps]])


def _priors(design: Design, precision: Precision, dtype: xp.dtype) -> jax.Array:
    """(R, R) prior Hessian; of a zero-sum facet the prior is on deviations from the mean."""

    def facet(size: int, value: jax.Array, zero_sum: bool) -> jax.Array:
        return value * (xp.eye(size, dtype=dtype) - (1.0 / size if zero_sum else 0.0))

    judge = facet(design.judges, precision.judge, design.zero_sum_judge)
    rubric = facet(design.mains - design.judges, precision.rubric, design.zero_sum_rubric)
    across = xp.zeros((len(judge), len(rubric)), dtype)
    mains = xp.block([[judge, across], [across.T, rubric]])
    return xp.pad(mains, (0, design.raters - design.mains))


def invert(border: jax.Array, spread: jax.Array, moving: jax.Array) -> jax.Array:
    """spread (spread' border spread)^-1 spread', of the coordinates that move."""
    free = xp.einsum("pf,pr,rg->fg", spread, border, spread)
    # Coordinates that stay get a 1 of their own; scaling to a unit diagonal keeps levels of very
    # different information apart in float32.
    free = free + xp.diag(xp.where(moving, 0.0, 1.0).astype(free.dtype))
    scale = xp.rsqrt(xp.diag(free))
    half = xp.inverse_root(scale[:, None] * free * scale, xp.diag(scale))
    half = xp.einsum("fg,pg->fp", half, spread)
    return xp.einsum("fp,fr->pr", half, half)
