"""Penalised maximum likelihood: Newton's method, which for logits is Fisher scoring.

A full step is kept where it cannot have lowered the objective. With c the largest change along it
of a logit (ordinal: of the log-odds of any two categories), the loss satisfies |f'''| <= c f'', so
a step with c <= 1 ascends; a longer one does where the slope at its end still points forward (the
objective is concave). Otherwise the step is cut to t = log(1 + c) / c, which ascends always: Bach,
"Self-concordant analysis for logistic regression" (2010), proposition 2. No objective has to be
evaluated, whose rounding in float32 exceeds the last iterations' gain.

It stops when c is at most the tolerance: the step is taken and leaves an error of order c^2 in
every logit, extreme cells included. (A tolerance on the Newton decrement does not see those: at
a precision of 1e-6 a cell that is off by 1 adds less to it than the rounding of the rest.) Weights
change by a factor of e^c at most: after a step that short the Hessian is still the one before it.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver import arrow as arrows
from dignified_jax.mfrm.solver.arrow import Arrow
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import moments
from dignified_jax.mfrm.solver.moments import Moments, Parameters

# Steps that change no weight by more than this, relatively, need no other Hessian after them.
SAME = 1e-5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RidgeSearch:
    """State of the iteration.

    Attributes:
      base: parameters whose step is being tried.
      step: that step.
      trial: base + step, or less where it was cut; the solution at the end.
      arrow: Hessian at the trial before; at the end, as good as at the solution.
      cut: whether the step was.
      change: largest change of a logit from base to base + step.
      iterations: steps tried so far.
      finite: False once a step is not.
      done: whether `arrow` belongs to the solution.
    """

    base: Parameters
    step: Parameters
    trial: Parameters
    arrow: Arrow
    cut: jax.Array
    change: jax.Array
    iterations: jax.Array
    finite: jax.Array
    done: jax.Array


def largest_change(step: Parameters, blocks: Blocks) -> jax.Array:
    """Upper bound on the change of any logit; ordinal: of the log-odds of any two categories."""
    logit = xp.abs(step.cell()).max() + xp.abs(step.pairs(blocks.judges, blocks.items)).max()
    if not blocks.scales:
        return logit
    sets = step.raters[blocks.judges + blocks.items :].reshape(blocks.scales, blocks.steps)
    sums = xp.pad(xp.cumsum(sets, axis=1), ((0, 0), (1, 0)))
    return blocks.steps * logit + (sums.max(axis=1) - sums.min(axis=1)).max()


def maximise(
    blocks: Blocks,
    start: Parameters,
    precision: Precision,
    design: Design,
    *,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
) -> RidgeSearch:
    """Posterior mode from `start`, whose facets satisfy their constraints."""

    def advance(state: RidgeSearch) -> RidgeSearch:
        sums = moments(blocks, state.trial)
        arrow = arrows.eliminate(sums, precision, design)
        gradient = arrows.gradient(arrow, state.trial, precision)
        forward = slope(sums, state.trial, state.step, precision) >= 0.0
        back = (state.change > 1.0) & ~state.cut & ~forward
        base = select(back, state.base, state.trial)
        step = select(back, state.step, arrows.solve(arrow, design, gradient))
        change = largest_change(step, blocks)
        scale = xp.where(back, xp.log1p(change) / change, 1.0)
        # A pass after the last step is for the Hessian there: nothing moves any more.
        over = is_last(state, tolerance, max_iterations)
        return RidgeSearch(
            base=base,
            step=step,
            trial=select(over, state.trial, base.plus(step, scale)),
            arrow=arrow,
            cut=back,
            change=xp.where(over, state.change, change),
            iterations=state.iterations + ~over,
            finite=state.finite & xp.isfinite(change),
            done=over | (change <= xp.minimum(tolerance, SAME)),
        )

    state = RidgeSearch(
        base=start,
        step=jax.tree.map(xp.zeros_like, start),
        trial=start,
        arrow=arrows.placeholder(blocks, start, precision, design),
        cut=xp.asarray(False),
        change=xp.asarray(xp.inf, start.theta.dtype),
        iterations=xp.asarray(0, xp.int32),
        finite=xp.asarray(True),
        done=xp.asarray(False),
    )
    return xp.while_loop(lambda state: ~state.done, advance, state)


def is_last(state, tolerance: jax.Array | float, max_iterations: jax.Array | int) -> jax.Array:
    """Tells whether the last step of a search (of this method or laplace) has been taken."""
    return (state.change <= tolerance) | (state.iterations >= max_iterations) | ~state.finite


def slope(sums: Moments, at: Parameters, step: Parameters, precision: Precision) -> jax.Array:
    """Derivative of the penalised log-likelihood along `step`, at `at` with its `sums`."""
    raters = arrows.rater_precision(precision, at.raters, *sums.pair_weight.shape)
    prior = (raters * at.raters * step.raters).sum()
    prior = prior + precision.theta * (at.theta * step.theta).sum()
    prior = prior + precision.question * (at.question * step.question).sum()
    likelihood = (sums.residual * step.cell()).sum() + (sums.rater_residual * step.raters).sum()
    return likelihood - prior


def select(first: jax.Array, one: Parameters, other: Parameters) -> Parameters:
    """`one` where `first`, else `other`."""
    return jax.tree.map(lambda a, b: xp.where(first, a, b), one, other)
