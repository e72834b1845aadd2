"""Marginal maximum likelihood by Laplace's approximation: theta and questions are random effects.

theta_mq ~ N(0, 1/p_theta) and question_q ~ N(0, 1/p_question) are integrated out; intercepts,
judges and rubric items have no prior. With u = (theta, question) at its conditional mode and H
its information there,

    log L = log p(y | u) + log p(u) - (1/2) log det(H / 2 pi)

and the last term depends on every logit through the weights. Its gradient is that of ordinary
residuals -(1/2) v weight (1 - 2p), where v = 1/D + kappa^2/S is the logit's conditional variance.
They are added to what the border answers to, while u answers to the ratings and its prior alone.
Breslow & Clayton (1993) for the model; the optimum is that of R's glmmTMB.

Precisions move by Fisher scoring of the same log L on a log scale, every iteration. For theta

    2 d log L / d log p = sum (1 - p var) - p sum (theta^2 + 2 theta eps)
    2 E[-d^2 log L / d log p^2] ~ sum (1 - p var)^2

with var the conditional variances and eps the response of u to the residuals above. That response
is also what the posterior mean of u has over its mode, to first order (a posterior of variance v
and third derivative -skew has its mean at mode - v^2 skew / 2). Modes lie nearer to 0 than means
where answers are many on one side, so that averages of modes shrink: estimates of theta and
questions, and with them qualities and scores, are posterior means.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import LOG_PRECISION_BOUND, Precision
from dignified_jax.mfrm.solver import anderson
from dignified_jax.mfrm.solver import arrow as arrows
from dignified_jax.mfrm.solver.anderson import History
from dignified_jax.mfrm.solver.arrow import Arrow
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import log_likelihood, moments
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.ridge import SAME, is_last, largest_change, select


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LaplaceSearch:
    """State of the iteration.

    Attributes:
      parameters: at the end, the solution.
      log_theta: log precision of theta.
      log_question: log precision of the questions.
      arrow: Hessian at the parameters and precisions before; at the end, at the solution.
      change: largest of the last step, of a logit or a log precision.
      iterations: steps so far.
      finite: False once a step is not.
      done: whether `arrow` belongs to the solution.
      history: of the points near the solution.
    """

    parameters: Parameters
    log_theta: jax.Array
    log_question: jax.Array
    arrow: Arrow
    change: jax.Array
    iterations: jax.Array
    finite: jax.Array
    done: jax.Array
    history: History

    def precision(self) -> Precision:
        """Precisions of the random effects; fixed effects have 0."""
        return _precision(self.log_theta, self.log_question)

    def at_bound(self) -> jax.Array:
        """Tells whether a variance is at the edge of its range."""
        edge = xp.maximum(xp.abs(self.log_theta), xp.abs(self.log_question))
        return edge >= LOG_PRECISION_BOUND - 0.1  # where the likelihood is flat


def maximise(
    blocks: Blocks,
    start: Parameters,
    design: Design,
    *,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
    least: float = -LOG_PRECISION_BOUND,
    log_precision: jax.Array | float = 0.0,
) -> LaplaceSearch:
    """The optimum, with log precisions of at least `least`.

    From `start` and the (2,) log precisions of theta and questions; those of variances of 1.
    """

    def advance(state: LaplaceSearch) -> LaplaceSearch:
        precision = state.precision()
        sums = moments(blocks, state.parameters, skew=True)
        arrow = arrows.eliminate(sums, precision, design)
        extra, rater_extra = correction(arrow)
        own = arrows.gradient(arrow, state.parameters, precision)
        # The gradient is linear in the residuals.
        nothing = jax.tree.map(xp.zeros_like, state.parameters)
        more = arrows.gradient(arrow, nothing, precision, extra, rater_extra)
        step = arrows.solve(arrow, design, own, jax.tree.map(xp.add, own, more))
        change = largest_change(step, blocks)
        # After the step, which brings the effects to their mode under these precisions; the mode
        # under the previous ones, put in its place, makes the two chase each other.
        scale = xp.where(change > 1.0, xp.log1p(change) / change, 1.0)
        # This is not quite Newton's method: far away it may go to and fro, which half steps end.
        scale = xp.where((change > 1.0) & (change > 0.9 * state.change), 0.5 * scale, scale)
        parameters = state.parameters.plus(step, scale)
        near = change <= 1.0
        moves = precision_moves(arrow, parameters, precision, extra)
        # Precisions wait until the effects are near: they say nothing about spread before.
        before = xp.stack([state.log_theta, state.log_question])
        after = xp.where(near, before + xp.stack(moves), before)
        after = xp.clip(after, least, LOG_PRECISION_BOUND)
        change = xp.maximum(change, xp.abs(after - before).max())
        # Near the solution, a step that learns from those before; unless it leaps.
        point, plain = (state.parameters, before), (step, after - before)
        history, (leap, log_leap) = anderson.accelerate(state.history, point, plain)
        history = jax.tree.map(
            lambda new, empty: xp.where(near, new, empty), history, anderson.start(point)
        )
        bold = near & (xp.maximum(largest_change(leap, blocks), xp.abs(log_leap).max()) <= 1.0)
        parameters = select(bold, state.parameters.plus(leap), parameters)
        after = xp.where(bold, before + log_leap, after)
        after = xp.clip(after, least, LOG_PRECISION_BOUND)
        # A pass after the last step is for the Hessian there: nothing moves any more.
        over = is_last(state, tolerance, max_iterations)
        after = xp.where(over, before, after)
        return LaplaceSearch(
            parameters=select(over, state.parameters, parameters),
            log_theta=after[0],
            log_question=after[1],
            arrow=arrow,
            change=xp.where(over, state.change, change),
            iterations=state.iterations + ~over,
            finite=state.finite & xp.isfinite(change),
            done=over | (change <= xp.minimum(tolerance, SAME)),
            history=history,
        )

    nothing = xp.zeros((), start.theta.dtype)
    log_theta, log_question = nothing + log_precision * xp.ones(2, start.theta.dtype)
    state = LaplaceSearch(
        parameters=start,
        log_theta=log_theta,
        log_question=log_question,
        arrow=arrows.placeholder(blocks, start, _precision(nothing, nothing), design, skew=True),
        change=nothing + xp.inf,
        iterations=xp.asarray(0, xp.int32),
        finite=xp.asarray(True),
        done=xp.asarray(False),
        history=anderson.start((start, xp.stack([nothing, nothing]))),
    )
    return xp.while_loop(lambda state: ~state.done, advance, state)


def correction(arrow: Arrow) -> tuple[jax.Array, jax.Array]:
    """Residuals of -(1/2) log det H, by cell (M, Q) and by rater (R,)."""
    variance = 1.0 / arrow.curvature + arrow.shrink**2 * arrow.question_inverse
    sums = arrow.moments
    by_rater = -0.5 * xp.einsum("mrq,mq->mr", sums.rater_skew, variance)
    by_cell = -0.5 * variance * sums.rater_skew[:, : len(sums.pair_weight)].sum(axis=1)
    return by_cell, by_rater.sum(axis=0)


def skewness_shift(arrow: Arrow, extra: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Differences of posterior means and modes, theta (M, Q) and question (Q,); `extra` (M, Q) from
    `correction`."""
    question = arrows.solve_questions(arrow, (arrow.shrink * extra).sum(axis=0))
    return (extra - arrow.moments.weight * question) / arrow.curvature, question


def posterior_mean(arrow: Arrow, parameters: Parameters) -> Parameters:
    """Parameters with the random effects moved from their modes to their means."""
    theta, question = skewness_shift(arrow, correction(arrow)[0])
    return dataclasses.replace(
        parameters, theta=parameters.theta + theta, question=parameters.question + question
    )


def precision_moves(
    arrow: Arrow, parameters: Parameters, precision: Precision, extra: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Steps of the log precisions of theta and questions; `extra` (M, Q) from `correction`."""
    follow = arrow.follow
    inverse = arrow.question_inverse
    free = inverse > 0.0
    theta_response, question_response = skewness_shift(arrow, extra)
    # 1 - p var, as sums of positive terms: p / D + W / D = 1 and p / S + sum kappa W / S = 1.
    theta_gain = follow - precision.theta * follow**2 * inverse
    question_gain = xp.where(free, (arrow.shrink * arrow.moments.weight).sum(axis=0) * inverse, 0.0)

    def move(gain, precision, effect, response):
        slope = gain.sum() - precision * (effect * (effect + 2.0 * response)).sum()
        # With nothing to learn from, 0 / 0 stays 0.
        scoring = slope / xp.maximum((gain**2).sum(), xp.finfo(slope.dtype).tiny)
        return xp.clip(scoring, -1.0, 1.0)

    question = xp.where(free, parameters.question, 0.0)
    return (
        move(theta_gain, precision.theta, parameters.theta, theta_response),
        move(question_gain, precision.question, question, question_response),
    )


def marginal_log_likelihood(
    blocks: Blocks,
    parameters: Parameters,
    arrow: Arrow,
    precision: Precision,
) -> jax.Array:
    """log L at `parameters`, whose `arrow` is given."""
    free = arrow.question_inverse > 0.0
    question = xp.where(free, parameters.question, 0.0)
    prior = precision.theta * (parameters.theta**2).sum()
    prior = prior + precision.question * (question**2).sum()
    # log det(P^-1 H) = -sum log kappa - sum log(p_question / S)
    shrunk = xp.where(free, precision.question * arrow.question_inverse, 1.0)
    volume = xp.log(arrow.shrink).sum() + xp.log(shrunk).sum()
    return log_likelihood(blocks, parameters) - 0.5 * prior + 0.5 * volume


def _precision(log_theta: jax.Array, log_question: jax.Array) -> Precision:
    nothing = xp.zeros_like(log_theta)
    return Precision(
        theta=xp.exp(log_theta), judge=nothing, rubric=nothing, question=xp.exp(log_question)
    )
