"""Marginal maximum likelihood by quadrature: Newton's method with the exact observed information.

With c the log density of ratings and random effects together, s its derivatives by the border
(raters, intercepts) and the two log precisions, and E and Cov over the posterior of the random
effects (Louis, "Finding the observed information matrix when using the EM algorithm", 1982)

    d log L = E s        -d^2 log L = E[-d^2 c] - Cov s

Questions are independent, and given its question so are the cells. With the precisions held, log L
is concave (Prekopa, 1973). In the precisions it need not be, far from the optimum and near a
variance of 0: where the whole matrix is not positive definite, they move apart from the rest, by
scoring. From Laplace's optimum two or three steps are enough.
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
from dignified_jax.mfrm.solver.ridge import largest_change

# Below this information on a log precision it is as good as at its bound.
LEAST_INFORMATION = 1e-3
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
    iterations: jax.Array
    finite: jax.Array
    done: jax.Array

    def precision(self) -> Precision:
        """Precisions of the random effects; fixed effects have 0."""
        return as_precision(self.log_precision)

    def at_bound(self) -> jax.Array:
        """Tells whether a variance is at the edge of its range."""
        return (jnp.abs(self.log_precision) >= LOG_PRECISION_BOUND - 0.1).any()


class Derivatives(NamedTuple):
    """Of log L by the border and the two log precisions, and where to put the points next.

    Attributes:
      score: (P + 2,).
      information: (P + 2, P + 2) -d^2 log L.
      question_score: (P + 2, L, Q) E[s | question at its point l], less a constant.
      center: parameters with theta and questions at their posterior means.
      weight: (M, Q) what makes the variance of theta, given the question, that of a Gaussian.
    """

    score: jax.Array
    information: jax.Array
    question_score: jax.Array
    center: Parameters
    weight: jax.Array


class Effects(NamedTuple):
    """A model's cells at the points of its `Posterior`.

    Attributes:
      weight: (K, L, Q) of k given l.
      residual: (R, K, Q) of the raters at k.
      theta: (K, L, Q) at k and l.
      spread: (K, L, Q) 1/2 - p theta^2 / 2, the derivative by log p.
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
    weight: jax.Array,
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
      weight: (M, Q) of the ratings there.
      log_precision: (2,), likewise.
      design: free levels and constraints.
      hold_question: bool, whether the precision of the questions stays where it is.
      tolerance: on the largest change.
      max_iterations: steps tried.
      points: of the quadrature.
    """

    def advance(state: MarginalSearch) -> MarginalSearch:
        precision = state.precision()
        found = posterior(blocks, state.parameters, state.weight, precision, design, points)
        slopes = derivatives(blocks, found, precision, design)
        known = found.information > LEAST_INFORMATION
        known = known & (jnp.abs(state.log_precision) < LOG_PRECISION_BOUND - 0.1)
        known = known & jnp.stack([jnp.asarray(True), ~hold_question])
        apart = jnp.pad(slopes.information[:-2, :-2], (0, 2))
        apart = apart.at[[-2, -1], [-2, -1]].set(found.information)
        both = jnp.stack([slopes.information, apart])
        covariance, safe = jax.vmap(lambda matrix: _covariance(matrix, known, design))(both)
        usual = (jnp.diag(covariance)[-2:] * found.information <= MOST_VARIANCE).all()
        covariance = jnp.where(usual & jnp.isfinite(covariance).all(), covariance, safe)
        step = covariance @ slopes.score
        # Nothing more to be learnt: to the bound, past which there is none.
        lost = (found.information > 0.0) & (found.information <= LEAST_INFORMATION)
        lost = lost & (state.log_precision > 0.0) & (state.log_precision < LOG_PRECISION_BOUND)
        largest = largest_change(as_step(step, state.parameters, design), blocks)
        change = jnp.maximum(largest, jnp.abs(step[-2:]).max())
        step = step * jnp.where(change > 1.0, jnp.log1p(change) / change, 1.0)
        # Rounding near a variance of 0 may send it to and fro, which half steps end.
        step = step * jnp.where(change > 0.9 * state.change, 0.5, 1.0)
        after = jnp.where(lost, LOG_PRECISION_BOUND, state.log_precision + step[-2:])
        after = jnp.clip(after, -LOG_PRECISION_BOUND, LOG_PRECISION_BOUND)
        # The next step would be shorter by as much as this one is than the last.
        left = change * jnp.minimum(change / state.change, 1.0)
        left = jnp.where((after == state.log_precision + step[-2:]).all(), left, change)
        left = jnp.where(jnp.isfinite(state.change), left, change)
        iterations = state.iterations + 1
        reached = (left <= tolerance) & ~lost.any()
        # At its bound, a variance is lost in the rounding of these.
        theta = jnp.where(known[0], slopes.center.theta, 0.0)
        center = dataclasses.replace(slopes.center, theta=theta)
        return MarginalSearch(
            parameters=center.plus(as_step(step, state.parameters, design)),
            log_precision=after,
            weight=jnp.where(known[0], slopes.weight, state.weight),
            posterior=found,
            posterior_precision=precision,
            question_score=slopes.question_score,
            covariance=covariance,
            step=step,
            log_likelihood=found.log_likelihood + 0.5 * slopes.score @ step,
            change=change,
            left=left,
            iterations=iterations,
            finite=jnp.isfinite(change),
            done=reached | (iterations >= max_iterations) | ~jnp.isfinite(change),
        )

    nothing = jnp.zeros((), start.theta.dtype)
    precision = as_precision(log_precision)
    shapes = jax.eval_shape(lambda: posterior(blocks, start, weight, precision, design, points))
    found = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    size = design.raters + start.intercept.size + 2
    state = MarginalSearch(
        parameters=start,
        log_precision=log_precision,
        weight=weight,
        posterior=found,
        posterior_precision=precision,
        question_score=jnp.zeros((size, *found.question_weight.shape), start.theta.dtype),
        covariance=jnp.zeros((size, size), start.theta.dtype),
        step=jnp.zeros(size, start.theta.dtype),
        log_likelihood=nothing,
        change=nothing + jnp.inf,
        left=nothing + jnp.inf,
        iterations=jnp.asarray(0, jnp.int32),
        finite=jnp.asarray(True),
        done=jnp.asarray(False),
    )
    return jax.lax.while_loop(lambda state: ~state.done, advance, state)


def derivatives(
    blocks: Blocks, found: Posterior, precision: Precision, design: Design
) -> Derivatives:
    """Derivatives of log L at a posterior."""
    within, node_weight, means, theta, variance = _within(found, precision, blocks.judges)
    by_question = _by_question(means, found, precision, design)
    mean = (found.question_weight * by_question).sum(axis=1)
    score = mean.sum(axis=1).at[design.mains : design.raters].add(steps_taken(blocks))
    apart = by_question - mean[:, None]
    covariance = within + gram(found.question_weight * apart, apart)
    complete = _complete(blocks, found, node_weight)
    # E[p theta^2 / 2] is what half the number of cells exceeds the score by.
    numbers = 0.5 * jnp.stack([found.spread.size, design.free_question.sum()])
    complete = complete.at[[-2, -1], [-2, -1]].set(numbers.astype(score.dtype) - score[-2:])
    question = (found.question_weight * found.question()).sum(axis=0)
    variance = jnp.maximum(variance, jnp.finfo(variance.dtype).tiny)
    weight = jnp.maximum(1.0 / variance - precision.theta, 0.0)
    center = dataclasses.replace(found.center, theta=theta, question=question)
    return Derivatives(score, complete - covariance, by_question, center, weight)


def gram(one: jax.Array, other: jax.Array) -> jax.Array:
    """(I, J) sums of products of (I, ...) and (J, ...) over all else."""
    return einsum("ia,ja->ij", one.reshape(len(one), -1), other.reshape(len(other), -1))


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
    theta = theta + (spread * nodes[:, None])[:, None]
    theta = theta - (found.question() - found.center.question)
    spread = 0.5 * (1.0 - precision.theta * theta**2)
    return Effects(weight, residual, theta, spread)


def by_model(found: Posterior) -> tuple[jax.Array, ...]:
    """What a scan over models needs for `effects`."""
    return found.cell_weight, found.rater_residual, found.center.theta, found.spread


def _within(found: Posterior, precision: Precision, judges: int) -> tuple[jax.Array, ...]:
    """Covariances (P + 2, P + 2) of the scores within cells given their question; (K, M, Q)
    probabilities of the cells' points; (M, R + 1, L, Q) `_means`; (M, Q) means of theta, and
    its variances given the question."""

    def one(block):
        cell = effects(*block, found, precision)
        joint = found.question_weight * cell.weight
        node_weight = joint.sum(axis=1)
        means = _means(cell)
        products = gram(found.question_weight * means, means)
        product = gram(node_weight * cell.residual, cell.residual)
        mixed = gram(cell.residual, (joint * cell.spread).sum(axis=1)[None])
        square = (joint * cell.spread**2).sum()
        products = jnp.block([[product, mixed], [mixed.T, square]]) - products
        given = (cell.weight * cell.theta).sum(axis=0)
        variance = (joint * (cell.theta - given) ** 2).sum(axis=(0, 1))
        theta = (found.question_weight * given).sum(axis=0)
        return products, node_weight, means, theta, variance

    products, node_weight, means, theta, variance = jax.lax.map(one, by_model(found))
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
    return covariance, node_weight.swapaxes(0, 1), means, theta, variance


def _means(cell: Effects) -> jax.Array:
    """(R + 1, L, Q) of the raters' scores and that of log p_theta, given the question."""
    # Term by term: XLA's reduction of a product whose factors are both broadcast goes wrong on CPUs
    # in float32 beyond about 1,500 questions (jax 0.10.2), and is slower.
    points = range(len(cell.weight))
    raters = sum(cell.weight[k] * cell.residual[:, k, None] for k in points)
    return jnp.concatenate([raters, (cell.weight * cell.spread).sum(axis=0)[None]])


def _by_question(
    means: jax.Array, found: Posterior, precision: Precision, design: Design
) -> jax.Array:
    """(P + 2, L, Q) from `_means` of all models."""
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


def as_step(border: jax.Array, like: Parameters, design: Design) -> Parameters:
    """Of the fixed effects: theta and questions follow the posterior's means."""
    return Parameters(
        theta=jnp.zeros_like(like.theta),
        question=jnp.zeros_like(like.question),
        raters=border[: design.raters],
        intercept=border[design.raters : -2],
    )
