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
from dignified_jax.mfrm.solver.likelihood import mean_weights, steps_taken
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
    by_question = _with_question(means, found, precision, design)
    mean = over_points(found.question_weight, by_question)
    score = xp.add_at(mean.sum(axis=1), slice(design.mains, design.raters), steps_taken(blocks))
    apart = by_question - mean[:, None]
    covariance = within + gram(found.question_weight * apart, apart)
    complete = _complete(blocks, found, node_weight)
    # E[p theta^2 / 2] is what half the number of cells exceeds the score by.
    numbers = 0.5 * xp.stack([found.spread.size, design.free_question.sum()])
    complete = xp.put(complete, ([-2, -1], [-2, -1]), numbers.astype(score.dtype) - score[-2:])
    question = over_points(found.question_weight, found.question())
    variance = xp.maximum(variance, xp.finfo(variance.dtype).tiny)
    weight = xp.maximum(1.0 / variance - precision.theta, 0.0)
    center = dataclasses.replace(found.center, theta=theta, question=question)
    return Derivatives(score, complete - covariance, by_question, center, weight)


def over_points(weight: jax.Array, values: jax.Array) -> jax.Array:
    """(..., Q) sums of weight (L, Q) * values (..., L, Q)."""
    return sum(weight[point] * values[..., point, :] for point in range(len(weight)))


def gram(one: jax.Array, other: jax.Array) -> jax.Array:
    """(I, J) sums of products of (I, ...) and (J, ...) over all else."""
    return xp.einsum("ia,ja->ij", one.reshape(len(one), -1), other.reshape(len(other), -1))


def _within(found: Posterior, precision: Precision, judges: int) -> tuple[jax.Array, ...]:
    """Covariances (P + 2, P + 2) of the scores within cells given their question; (M, K, Q)
    probabilities of the cells' points; (P + 1, L, Q) means of the scores given the question; (M, Q)
    means of theta, and its variances given the question."""

    nodes = xp.asarray(rule(found.cell_weight.shape[1])[0], found.spread.dtype)[:, None]
    question = found.question_weight

    # In two passes: within one XLA would compute the first one's arrays for each use anew.
    def sums(block):
        cell = effects(*block, found, precision)
        # Over the question's points, of 1, of the offset and of its square.
        node_weight = over_points(question, cell.weight)
        offset = over_points(question * cell.offset, cell.weight)
        square = over_points(question * cell.offset**2, cell.weight)
        z = cell.spread * nodes
        slope = 0.5 * (
            node_weight - precision.theta * (square + z * (2.0 * offset + z * node_weight))
        )
        last, mean_square, _ = cell.slope_moments()
        return (
            means_given_question(cell),
            last,
            node_weight,
            slope,
            over_points(question, mean_square - last**2),
            over_points(question, cell.mean()),
            over_points(question, cell.variance()),
        )

    def products(block):
        residual, raters, last, node_weight, slope, total = block
        product = gram(node_weight * residual, residual) - gram(question * raters, raters)
        mixed = gram(residual, slope[None]) - gram(raters, (question * last)[None])
        products = xp.block([[product, mixed], [mixed.T, total.sum()]])
        return products, xp.leading_sum(raters[:judges])

    *parts, theta, variance = xp.each(sums, by_model(found))
    products, own_means = xp.each(products, (found.rater_residual, *parts))
    raters, last, node_weight, *_ = parts
    means = [xp.leading_sum(raters), own_means, xp.leading_sum(last)[None]]
    means = xp.concatenate(means)
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
    return covariance, node_weight, means, theta, variance


def _with_question(
    means: jax.Array, found: Posterior, precision: Precision, design: Design
) -> jax.Array:
    """(P + 2, L, Q) means given the question, of its log precision too."""
    end = 0.5 * (1.0 - precision.question * found.question() ** 2)
    return xp.concatenate([means, xp.where(design.free_question, end, 0.0)[None]])


def _complete(blocks: Blocks, found: Posterior, node_weight: jax.Array) -> jax.Array:
    """(P + 2, P + 2) E[-d^2 c], 0 for the log precisions; (M, K, Q) probabilities of the points."""
    center, nodes = found.center, rule(node_weight.shape[1])[0][:, None]
    off = found.spread[:, None] * xp.asarray(nodes, found.spread.dtype)
    cells = center.cell()[:, None] + off
    pairs, by_rater, own, *steps = mean_weights(blocks, center, cells, node_weight)
    mains = xp.block([[xp.diag(pairs.sum(axis=1)), pairs], [pairs.T, xp.diag(pairs.sum(axis=0))]])
    if steps:
        mains = xp.block([[mains, steps[0]], [steps[0].T, steps[1]]])
    border = xp.block([[mains, by_rater.T], [by_rater, xp.diag(own)]])
    return xp.pad(border, (0, 2))
