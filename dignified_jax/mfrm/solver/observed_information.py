"""The observed information of the marginal likelihood, by quadrature.

With c the log density of ratings and random effects together, s its derivatives by the border
(raters, intercepts) and the two log precisions, and E and Cov over the posterior of the random
effects (Louis, "Finding the observed information matrix when using the EM algorithm", 1982)

    d log L = E s        -d^2 log L = E[-d^2 c] - Cov s

Questions are independent, and given its question so are the cells.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.likelihood import moments, steps_taken
from dignified_jax.mfrm.solver.moments import Parameters
from dignified_jax.mfrm.solver.quadrature import (
    Posterior,
    by_model,
    effects,
    means_given_question,
    rule,
)


class Derivatives(NamedTuple):
    """Derivatives of log L by border and log precisions, and where to put the points next.

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


def derivatives(
    blocks: Blocks, found: Posterior, precision: Precision, design: Design
) -> Derivatives:
    """Derivatives of log L at a posterior."""
    within, node_weight, means, theta, variance = _within(found, precision, blocks.judges)
    by_question = _by_question(means, found, precision, design)
    mean = (found.question_weight * by_question).sum(axis=1)
    score = xp.add_at(mean.sum(axis=1), slice(design.mains, design.raters), steps_taken(blocks))
    apart = by_question - mean[:, None]
    covariance = within + gram(found.question_weight * apart, apart)
    complete = _complete(blocks, found, node_weight)
    # E[p theta^2 / 2] is what half the number of cells exceeds the score by.
    numbers = 0.5 * xp.stack([found.spread.size, design.free_question.sum()])
    complete = xp.put(complete, ([-2, -1], [-2, -1]), numbers.astype(score.dtype) - score[-2:])
    question = (found.question_weight * found.question()).sum(axis=0)
    variance = xp.maximum(variance, xp.finfo(variance.dtype).tiny)
    weight = xp.maximum(1.0 / variance - precision.theta, 0.0)
    center = dataclasses.replace(found.center, theta=theta, question=question)
    return Derivatives(score, complete - covariance, by_question, center, weight)


def gram(one: jax.Array, other: jax.Array) -> jax.Array:
    """(I, J) sums of products of (I, ...) and (J, ...) over all else."""
    return xp.einsum("ia,ja->ij", one.reshape(len(one), -1), other.reshape(len(other), -1))


def _within(found: Posterior, precision: Precision, judges: int) -> tuple[jax.Array, ...]:
    """Covariances (P + 2, P + 2) of the scores within cells given their question; (K, M, Q)
    probabilities of the cells' points; (M, R + 1, L, Q) `means_given_question`; (M, Q)
    means of theta, and its variances given the question."""

    def one(block):
        cell = effects(*block, found, precision)
        joint = found.question_weight * cell.weight
        node_weight = joint.sum(axis=1)
        means = means_given_question(cell)
        products = gram(found.question_weight * means, means)
        product = gram(node_weight * cell.residual, cell.residual)
        mixed = gram(cell.residual, (joint * cell.spread).sum(axis=1)[None])
        square = (joint * cell.spread**2).sum()
        products = xp.block([[product, mixed], [mixed.T, square]]) - products
        given = (cell.weight * cell.theta).sum(axis=0)
        variance = (joint * (cell.theta - given) ** 2).sum(axis=(0, 1))
        theta = (found.question_weight * given).sum(axis=0)
        return products, node_weight, means, theta, variance

    products, node_weight, means, theta, variance = xp.each(one, by_model(found))
    # From (raters, log p) to (raters, intercept of the model, log p) of each.
    own = products[:, :judges].sum(axis=1)  # (M, R + 1)
    total, corner = products.sum(axis=0), own[:, :judges].sum(axis=1)
    main, last = slice(0, -1), -1
    nothing = xp.zeros_like(total[:, :1])
    covariance = xp.block(
        [
            [total[main, main], own[:, main].T, total[main, last:], nothing[main]],
            [own[:, main], xp.diag(corner), own[:, last:], 0.0 * own[:, last:]],
            [total[last:, main], own[:, last:].T, total[last:, last:], nothing[last:]],
            [xp.zeros((1, total.shape[0] + len(own) + 1), total.dtype)],
        ]
    )
    return covariance, node_weight.swapaxes(0, 1), means, theta, variance


def _by_question(
    means: jax.Array, found: Posterior, precision: Precision, design: Design
) -> jax.Array:
    """(P + 2, L, Q) from `means_given_question` of all models."""
    total = means.sum(axis=0)
    own = means[:, : design.judges].sum(axis=1)
    end = 0.5 * (1.0 - precision.question * found.question() ** 2)
    end = xp.where(design.free_question, end, 0.0)
    return xp.concatenate([total[:-1], own, total[-1:], end[None]])


def _complete(blocks: Blocks, found: Posterior, node_weight: jax.Array) -> jax.Array:
    """(P + 2, P + 2) E[-d^2 c], 0 for the log precisions."""

    def at(point):
        node, weight = point
        here = dataclasses.replace(found.center, theta=found.center.theta + node * found.spread)
        scaled = dataclasses.replace(blocks, trials=blocks.trials * weight[:, None])
        sums = moments(scaled, here)
        steps = (sums.step_weight, sums.step_block) if blocks.scales else ()
        return sums.pair_weight, sums.rater_weight.sum(axis=2), sums.weight.sum(axis=1), *steps

    nodes = xp.asarray(rule(len(node_weight))[0], found.spread.dtype)
    points = xp.each(at, (nodes, node_weight))
    pairs, by_rater, own, *steps = (values.sum(axis=0) for values in points)
    mains = xp.block([[xp.diag(pairs.sum(axis=1)), pairs], [pairs.T, xp.diag(pairs.sum(axis=0))]])
    if steps:
        mains = xp.block([[mains, steps[0]], [steps[0].T, steps[1]]])
    border = xp.block([[mains, by_rater.T], [by_rater, xp.diag(own)]])
    return xp.pad(border, (0, 2))
