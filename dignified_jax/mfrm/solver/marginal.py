"""Marginal maximum likelihood by quadrature: Newton's method with the exact observed information.

With c the log density of ratings and random effects together, s its derivatives by the border
(raters, intercepts) and the two log precisions, and E and Cov over the posterior of the random
effects (Louis, "Finding the observed information matrix when using the EM algorithm", 1982)

    d log L = E s        -d^2 log L = E[-d^2 c] - Cov s

Questions are independent, and given its question so are the cells. Where the difference is not
positive definite, far from the optimum, E[-d^2 c] stands for it, which gives steps of the EM
algorithm. From Laplace's optimum two or three steps are enough.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import LOG_PRECISION_BOUND, Precision
from dignified_jax.mfrm.solver.arrow import invert
from dignified_jax.mfrm.solver.blocks import Blocks, einsum
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import moments, steps_taken
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.quadrature import POINTS, Posterior, posterior, rule
from dignified_jax.mfrm.solver.ridge import largest_change, select

# Below this information on a log precision it is as good as at its bound.
LEAST_INFORMATION = 1e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MarginalSearch:
    """State of the iteration.

    Attributes:
      parameters: fixed effects so far; at the end, those that `posterior` belongs to.
      log_precision: (2,) of theta and questions.
      posterior: at the point before; at the end, at the solution.
      covariance: (P + 2, P + 2) of border and log precisions, likewise, in the zero-sum gauge.
      change: largest of the last step, of a logit or a log precision.
      iterations: steps so far.
      finite: whether the last step and the covariance are.
      done: whether `posterior` belongs to the solution.
    """

    parameters: Parameters
    log_precision: jax.Array
    posterior: Posterior
    covariance: jax.Array
    change: jax.Array
    iterations: jax.Array
    finite: jax.Array
    done: jax.Array

    def precision(self) -> Precision:
        """Precisions of the random effects; fixed effects have 0."""
        return as_precision(self.log_precision)

    def at_bound(self) -> jax.Array:
        """Tells whether a variance is at the edge of its range."""
        return (jnp.abs(self.log_precision) >= LOG_PRECISION_BOUND - 0.1).any()


class Effects(NamedTuple):
    """A model's cells at the points of its `Posterior`.

    Attributes:
      weight: (K, K, Q) of k given l.
      residual: (R, K, Q) of the raters at k.
      theta: (K, K, Q) at k and l.
      spread: (K, K, Q) 1/2 - p theta^2 / 2, the derivative by log p.
    """

    weight: jax.Array
    residual: jax.Array
    theta: jax.Array
    spread: jax.Array


def as_precision(log_precision: jax.Array) -> Precision:
    """From (2,) logs."""
    nothing = jnp.zeros_like(log_precision[0])
    theta, question = jnp.exp(log_precision)
    return Precision(theta=theta, judge=nothing, rubric=nothing, question=question)


def maximise(
    blocks: Blocks,
    start: Parameters,
    log_precision: jax.Array,
    design: Design,
    *,
    hold_question: jax.Array,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
    points: int = POINTS,
) -> MarginalSearch:
    """The optimum, from near it.

    Args:
      blocks: the ratings.
      start: fixed effects, theta and questions, of Laplace's method.
      log_precision: (2,), likewise.
      design: free levels and constraints.
      hold_question: bool, whether the precision of the questions stays where it is.
      tolerance: on the largest change.
      max_iterations: steps tried.
      points: of the quadrature.
    """

    def advance(state: MarginalSearch) -> MarginalSearch:
        precision = state.precision()
        found = posterior(blocks, state.parameters, precision, design, points)
        score, information, complete = derivatives(blocks, found, precision, design)
        known = found.information > LEAST_INFORMATION
        known = known & (jnp.abs(state.log_precision) < LOG_PRECISION_BOUND - 0.1)
        known = known & jnp.stack([jnp.asarray(True), ~hold_question])
        both = jnp.stack([information, complete])
        covariance, safe = jax.vmap(lambda matrix: _covariance(matrix, known, design))(both)
        definite = jnp.isfinite(covariance).all()
        border = jnp.where(definite, covariance, safe) @ score
        step = _as_step(border, state.parameters, design)
        moves = border[-2:]
        # Nothing more to be learnt: to the bound, past which there is none.
        lost = (found.information > 0.0) & (found.information <= LEAST_INFORMATION)
        lost = lost & (state.log_precision > 0.0)
        change = jnp.maximum(largest_change(step, blocks), jnp.abs(moves).max())
        scale = jnp.where(change > 1.0, jnp.log1p(change) / change, 1.0)
        reached = (change <= tolerance) & ~lost.any()
        done = reached | (state.iterations >= max_iterations) | ~jnp.isfinite(change)
        after = state.log_precision + scale * moves
        after = jnp.where(lost, LOG_PRECISION_BOUND, after)
        after = jnp.clip(after, -LOG_PRECISION_BOUND, LOG_PRECISION_BOUND)
        parameters = found.center.plus(step, scale)
        return MarginalSearch(
            parameters=select(done, found.center, parameters),
            log_precision=jnp.where(done, state.log_precision, after),
            posterior=found,
            covariance=covariance,
            change=change,
            iterations=state.iterations + ~done,
            finite=jnp.isfinite(change) & definite,
            done=done,
        )

    nothing = jnp.zeros((), start.theta.dtype)
    shapes = jax.eval_shape(
        lambda: posterior(blocks, start, as_precision(log_precision), design, points)
    )
    size = design.raters + start.intercept.size + 2
    state = MarginalSearch(
        parameters=start,
        log_precision=log_precision,
        posterior=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
        covariance=jnp.zeros((size, size), start.theta.dtype),
        change=nothing + jnp.inf,
        iterations=jnp.asarray(0, jnp.int32),
        finite=jnp.asarray(True),
        done=jnp.asarray(False),
    )
    return jax.lax.while_loop(lambda state: ~state.done, advance, state)


def derivatives(
    blocks: Blocks, found: Posterior, precision: Precision, design: Design
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(P + 2,) d log L by border and log precisions, (P + 2, P + 2) -d^2 log L and E[-d^2 c]."""
    within, node_weight, means = _within(found, precision, blocks.judges)
    by_question = _by_question(means, found, precision, design)
    mean = (found.question_weight * by_question).sum(axis=1)
    score = mean.sum(axis=1).at[design.mains : design.raters].add(steps_taken(blocks))
    apart = by_question - mean[:, None]
    covariance = within + einsum("lq,ilq,jlq->ij", found.question_weight, apart, apart)
    complete = _complete(blocks, found, node_weight)
    # E[p theta^2 / 2] is what half the number of cells exceeds the score by.
    numbers = 0.5 * jnp.stack([found.spread.size, design.free_question.sum()])
    complete = complete.at[[-2, -1], [-2, -1]].set(numbers.astype(score.dtype) - score[-2:])
    return score, complete - covariance, complete


def question_scores(found: Posterior, precision: Precision, design: Design) -> jax.Array:
    """(P + 2, K, Q) E[s | question at its point l], of its cells and itself, less a constant."""

    def one(block):
        return _means(effects(*block, found, precision))

    return _by_question(jax.lax.map(one, by_model(found)), found, precision, design)


def effects(
    weight: jax.Array,
    residual: jax.Array,
    theta: jax.Array,
    spread: jax.Array,
    found: Posterior,
    precision: Precision,
) -> Effects:
    """Of one model, whose parts of `found` these are."""
    nodes = jnp.asarray(rule(len(weight))[0], theta.dtype)
    off = (spread * nodes[:, None])[:, None] - found.question_spread * nodes[:, None]
    theta = theta + off
    spread = 0.5 * (1.0 - precision.theta * theta**2)
    return Effects(weight, residual.swapaxes(0, 1), theta, spread)


def by_model(found: Posterior) -> tuple[jax.Array, ...]:
    """What a scan over models needs for `effects`."""
    residual = found.rater_residual.swapaxes(0, 1)
    return found.cell_weight, residual, found.center.theta, found.spread


def _within(
    found: Posterior, precision: Precision, judges: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Covariances (P + 2, P + 2) of the scores within cells given their question; (K, M, Q)
    probabilities of the cells' points; (M, R + 1, K, Q) `_means`."""

    def one(block):
        cell = effects(*block, found, precision)
        joint = found.question_weight * cell.weight
        node_weight = joint.sum(axis=1)
        means = _means(cell)
        products = einsum("ilq,jlq->ij", found.question_weight * means, means)
        product = einsum("ikq,jkq->ij", node_weight * cell.residual, cell.residual)
        mixed = einsum("ikq,kq->i", cell.residual, (joint * cell.spread).sum(axis=1))
        square = (joint * cell.spread**2).sum()
        products = jnp.block([[product, mixed[:, None]], [mixed, square]]) - products
        return products, node_weight, means

    products, node_weight, means = jax.lax.map(one, by_model(found))
    # From (raters, log p) to (raters, intercept of the model, log p) of each.
    own = products[:, :judges].sum(axis=1)  # (M, R + 1)
    total, corner = products.sum(axis=0), own[:, :judges].sum(axis=1)
    main, last = slice(0, -1), -1
    nothing = jnp.zeros_like(total[:, :1])
    covariance = jnp.block(
        [
            [total[main, main], own[:, main].T, total[main, last:], nothing[main]],
            [own[:, main], jnp.diag(corner), own[:, last:], 0.0 * own[:, last:]],
            [total[last:, main], own[:, last:].T, total[last:, last:], nothing[last:]],
            [jnp.zeros((1, total.shape[0] + len(own) + 1), total.dtype)],
        ]
    )
    return covariance, node_weight.swapaxes(0, 1), means


def _means(cell: Effects) -> jax.Array:
    """(R + 1, K, Q) of the raters' scores and that of log p_theta, given the question."""
    raters = (cell.weight * cell.residual[:, :, None]).sum(axis=1)
    return jnp.concatenate([raters, (cell.weight * cell.spread).sum(axis=0)[None]])


def _by_question(
    means: jax.Array, found: Posterior, precision: Precision, design: Design
) -> jax.Array:
    """(P + 2, K, Q) from `_means` of all models."""
    total = means.sum(axis=0)
    own = means[:, : design.judges].sum(axis=1)
    end = 0.5 * (1.0 - precision.question * found.question() ** 2)
    end = jnp.where(design.free_question, end, 0.0)
    return jnp.concatenate([total[:-1], own, total[-1:], end[None]])


def _complete(blocks: Blocks, found: Posterior, node_weight: jax.Array) -> jax.Array:
    """(P + 2, P + 2) E[-d^2 c], 0 for the log precisions."""

    def at(point):
        node, weight = point
        here = dataclasses.replace(found.center, theta=found.center.theta + node * found.spread)
        scaled = dataclasses.replace(blocks, trials=blocks.trials * weight[:, None])
        sums = moments(scaled, here)
        steps = (sums.step_weight, sums.step_block) if blocks.scales else ()
        return sums.pair_weight, sums.rater_weight.sum(axis=2), sums.weight.sum(axis=1), *steps

    nodes = jnp.asarray(rule(len(node_weight))[0], found.spread.dtype)
    points = jax.lax.map(at, (nodes, node_weight))
    pairs, by_rater, own, *steps = (values.sum(axis=0) for values in points)
    mains = jnp.block(
        [[jnp.diag(pairs.sum(axis=1)), pairs], [pairs.T, jnp.diag(pairs.sum(axis=0))]]
    )
    if steps:
        mains = jnp.block([[mains, steps[0]], [steps[0].T, steps[1]]])
    border = jnp.block([[mains, by_rater.T], [by_rater, jnp.diag(own)]])
    return jnp.pad(border, (0, 2))


def _covariance(information: jax.Array, known: jax.Array, design: Design) -> jax.Array:
    """(P + 2, P + 2) in the zero-sum gauge, 0 for what is held; NaN where it is not definite."""
    spread = design.spread(information.dtype)
    moving = jnp.concatenate([design.moving(jnp.diag(information)), known])
    spread = jnp.block(
        [[spread, jnp.zeros((len(spread), 2))], [jnp.zeros((2, spread.shape[1])), jnp.eye(2)]]
    ).astype(information.dtype)
    inverse = invert(information, jnp.where(moving, spread, 0.0), moving)

    def centred(rows: jax.Array) -> jax.Array:
        return jnp.concatenate([design.to_zero_sum(rows[:-2]), rows[-2:]])

    return centred(centred(inverse).T)


def _as_step(border: jax.Array, like: Parameters, design: Design) -> Parameters:
    """Of the fixed effects: theta and questions follow when the next posterior is made."""
    return Parameters(
        theta=jnp.zeros_like(like.theta),
        question=jnp.zeros_like(like.question),
        raters=border[: design.raters],
        intercept=border[design.raters : -2],
    )
