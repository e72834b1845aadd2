"""Marginal maximum likelihood by quadrature: Newton's method with the exact observed information.

With the precisions held, log L is concave (Prekopa, 1973). In the precisions it need not be, far
from the optimum and near a variance of 0: where the whole matrix is not positive definite, they
move apart from the rest, by scoring. From Laplace's optimum two or three steps are enough.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import LOG_PRECISION_BOUND, Precision
from dignified_jax.mfrm.solver import laplace
from dignified_jax.mfrm.solver.arrow import invert
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.observed_information import derivatives
from dignified_jax.mfrm.solver.quadrature import POINTS, QUESTION_POINTS, Posterior, posterior
from dignified_jax.mfrm.solver.ridge import largest_change, select

# Where Laplace's method hands over: no further than the two optima are apart.
NEAR = 1e-2
# With few ratings a cell, Laplace's variances may grow without end: not past a deviation of 2.7.
LEAST = -2.0
# Points stay where they are after a step this short.
SETTLED = 1e-5
# Above this log precision answers are as good as their questions' in the first step; and such as a
# step of Laplace's leaves them may be off by much of what they pull with, precision times theta.
ALIKE = 10.0
# Below this information on a log precision the likelihood is as good at its bound.
LEAST_INFORMATION = 0.05
# And above this ratio of its variance to the inverse of that, rounding or a saddle made it.
MOST_VARIANCE = 25.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MarginalSearch:
    """State of the iteration.

    Attributes:
      parameters: after the last step, theta and questions as before it.
      log_precision: (2,) of theta and questions, likewise.
      weight: (M, Q) what `posterior` takes.
      posterior: before the last step.
      posterior_precision: likewise.
      question_score: (P + 2, L, Q), see `Derivatives`.
      covariance: (P + 2, P + 2) of border and log precisions, in the zero-sum gauge.
      step: (P + 2,) the last one.
      log_likelihood: at the end of the step, to second order.
      change: largest of the last step, of a logit or a log precision.
      left: about what the next one would be.
      damping: what steps are multiplied by.
      iterations: steps so far.
      finite: whether the last step is.
      done: whether it is over.
    """

    parameters: Parameters
    log_precision: jax.Array
    weight: jax.Array
    posterior: Posterior
    posterior_precision: Precision
    question_score: jax.Array
    covariance: jax.Array
    step: jax.Array
    log_likelihood: jax.Array
    change: jax.Array
    left: jax.Array
    damping: jax.Array
    iterations: jax.Array
    finite: jax.Array
    done: jax.Array

    def precision(self) -> Precision:
        """Precisions of the random effects; fixed effects have 0."""
        return as_precision(self.log_precision)

    def at_bound(self) -> jax.Array:
        """Tells whether a variance is at the edge of its range."""
        return (xp.abs(self.log_precision) >= LOG_PRECISION_BOUND - 0.1).any()


def as_precision(log_precision: jax.Array) -> Precision:
    """From (2,) logs."""
    nothing = xp.zeros_like(log_precision[0])
    theta, question = xp.exp(log_precision)
    return Precision(theta=theta, judge=nothing, rubric=nothing, question=question)


def maximise(
    blocks: Blocks,
    start: Parameters,
    design: Design,
    *,
    hold_question: jax.Array,
    log_precision: jax.Array | float = 0.0,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
    points: int = POINTS,
) -> MarginalSearch:
    """The optimum, by way of Laplace's.

    Args:
      blocks: the ratings.
      start: whose facets satisfy their constraints.
      design: free levels and constraints.
      hold_question: bool, whether the precision of the questions stays where Laplace's is.
      log_precision: (2,) of theta and questions, where the search begins.
      tolerance: on the largest change.
      max_iterations: steps tried, of each.
      points: of the quadrature.
    """
    near = laplace.maximise(
        blocks,
        start,
        design,
        tolerance=xp.maximum(tolerance, NEAR),
        max_iterations=max_iterations,
        least=LEAST,
        log_precision=log_precision,
    )

    def advance(state: MarginalSearch) -> MarginalSearch:
        precision = state.precision()
        found = posterior(blocks, state.parameters, state.weight, precision, design, points)
        slopes = derivatives(blocks, found, precision, design)
        known = found.information > LEAST_INFORMATION
        known = known & (xp.abs(state.log_precision) < LOG_PRECISION_BOUND - 0.1)
        known = known & xp.stack([xp.asarray(True), ~hold_question])
        apart = xp.pad(slopes.information[:-2, :-2], (0, 2))
        apart = xp.put(apart, ([-2, -1], [-2, -1]), found.information)
        both = xp.stack([slopes.information, apart])
        covariance, safe = xp.vmap(lambda matrix: _covariance(matrix, known, design))(both)
        usual = (xp.diag(covariance)[-2:] * found.information <= MOST_VARIANCE).all()
        usual = usual & xp.isfinite(covariance).all()
        covariance = xp.where(usual, covariance, safe)
        step = covariance @ slopes.score
        # Scoring is slow where little can be learnt.
        step = xp.concatenate([step[:-2], step[-2:] * xp.where(usual, 1.0, 3.0)])
        # Nothing more to be learnt: to the bound, past which there is none.
        lost = (found.information > 0.0) & (found.information <= LEAST_INFORMATION)
        lost = lost & (state.log_precision > 0.0) & (state.log_precision < LOG_PRECISION_BOUND)
        largest = largest_change(as_step(step, state.parameters, design), blocks)
        change = xp.maximum(largest, xp.abs(step[-2:]).max())
        step = step * xp.where(change > 1.0, xp.log1p(change) / change, 1.0)
        # Near a variance of 0 it may go to and fro, which half steps end.
        back = (step[-2:] * state.step[-2:]).sum() < 0.0
        shorter = xp.where(change > 0.5 * state.change, 0.5 * state.damping, state.damping)
        damping = xp.where(back, shorter, xp.minimum(2.0 * state.damping, 1.0))
        step = step * damping
        after = xp.where(lost, LOG_PRECISION_BOUND, state.log_precision + step[-2:])
        after = xp.clip(after, -LOG_PRECISION_BOUND, LOG_PRECISION_BOUND)
        # The next step would be shorter by as much as this one is than the last.
        left = change * xp.minimum(change / state.change, 1.0)
        left = xp.where((after == state.log_precision + step[-2:]).all(), left, change)
        left = xp.where(xp.isfinite(state.change), left, change)
        iterations = state.iterations + 1
        reached = (left <= tolerance) & ~lost.any()
        # Points that stay where they are leave a fixed function, on which Newton's method is fast.
        settled = change <= SETTLED
        center = _at_bounds(select(settled, found.center, slopes.center), after, known, design)
        next_weight = xp.where(known[0] & ~settled, slopes.weight, state.weight)
        return MarginalSearch(
            parameters=center.plus(as_step(step, state.parameters, design)),
            log_precision=after,
            weight=next_weight,
            posterior=found,
            posterior_precision=precision,
            question_score=slopes.question_score,
            covariance=covariance,
            step=step,
            log_likelihood=found.log_likelihood + 0.5 * slopes.score @ step,
            change=change,
            left=left,
            damping=damping,
            iterations=iterations,
            finite=xp.isfinite(change),
            done=reached | (iterations >= max_iterations) | ~xp.isfinite(change),
        )

    nothing = xp.zeros((), start.theta.dtype)
    weight, precision = near.arrow.moments.weight, near.precision()
    found = xp.zeros_of(lambda: posterior(blocks, start, weight, precision, design, points))
    size = design.raters + start.intercept.size + 2
    theta = xp.where(near.log_theta < ALIKE, near.parameters.theta, 0.0)
    state = MarginalSearch(
        parameters=dataclasses.replace(near.parameters, theta=theta),
        log_precision=xp.stack([near.log_theta, near.log_question]),
        weight=weight,
        posterior=found,
        posterior_precision=precision,
        question_score=xp.zeros((size, QUESTION_POINTS, start.question.size), start.theta.dtype),
        covariance=xp.zeros((size, size), start.theta.dtype),
        step=xp.zeros(size, start.theta.dtype),
        log_likelihood=nothing,
        change=nothing + xp.inf,
        left=nothing + xp.inf,
        damping=nothing + 1.0,
        iterations=xp.asarray(0, xp.int32),
        finite=xp.asarray(True),
        done=xp.asarray(False),
    )
    return xp.while_loop(lambda state: ~state.done, advance, state)


def _at_bounds(
    center: Parameters, log_precision: jax.Array, known: jax.Array, design: Design
) -> Parameters:
    """The centre with random effects of no variance at 0.

    Points about another place would reach 0 in hundreds of steps, of 3 tiny deviations each.
    """
    none = log_precision >= LOG_PRECISION_BOUND - 0.1
    theta = xp.where(none[0] | ~known[0], 0.0, center.theta)
    question = xp.where(none[1] & design.free_question, 0.0, center.question)
    return dataclasses.replace(center, theta=theta, question=question)


def _covariance(information: jax.Array, known: jax.Array, design: Design) -> jax.Array:
    """(P + 2, P + 2) in the zero-sum gauge, 0 for what is held; NaN where it is not definite."""
    spread = design.spread(information.dtype)
    moving = xp.concatenate([design.moving(xp.diag(information)), known])
    spread = xp.block(
        [[spread, xp.zeros((len(spread), 2))], [xp.zeros((2, spread.shape[1])), xp.eye(2)]]
    ).astype(information.dtype)
    inverse = invert(information, xp.where(moving, spread, 0.0), moving)

    def centred(rows: jax.Array) -> jax.Array:
        return xp.concatenate([design.to_zero_sum(rows[:-2]), rows[-2:]])

    return centred(centred(inverse).T)


def as_step(border: jax.Array, like: Parameters, design: Design) -> Parameters:
    """Steps of the fixed effects: theta and questions follow the posterior's means."""
    return Parameters(
        theta=xp.zeros_like(like.theta),
        question=xp.zeros_like(like.question),
        raters=border[: design.raters],
        intercept=border[design.raters : -2],
    )
