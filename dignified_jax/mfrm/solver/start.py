"""Where a search begins: at what the sums of the ratings say, or near a fit to much the same ones.

A cell, judge or item with S successes of n has about the logit log(S / (n - S)), flattened by the
spread V of what its ratings differ in: by 1 / sqrt(1 + V / 2.89), the PROX of Cohen (1979; Wright &
Stone, "Best Test Design", 1979). With these severities and all ratings of a cell taken as of one
logit, three Newton steps over cells cost less than one over ratings, and save three or four.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Fit, Precision
from dignified_jax.mfrm.solver.arrow import rater_precision
from dignified_jax.mfrm.solver.blocks import Blocks, Totals
from dignified_jax.mfrm.solver.extremes import closed_steps
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.moments import Parameters

# Farther from a variance of 1 the likelihood may be so flat that a search would stay.
MOST_LOG_PRECISION = 3.0
# Square of the ratio of a logistic to a normal deviate's scale.
FLATTENING = 2.89
CELL_STEPS = 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Start:
    """Parameters, and (2,) log precisions of theta and questions."""

    parameters: Parameters
    log_precision: jax.Array

    def at_questions(self, draw: jax.Array) -> Start:
        """With the questions that are drawn, some of them perhaps several times."""
        theta, question = self.parameters.theta[:, draw], self.parameters.question[draw]
        drawn = dataclasses.replace(self.parameters, theta=theta, question=question)
        return dataclasses.replace(self, parameters=drawn)


@xp.at_once
def of_fit(fit: Fit) -> Start:
    """That of a fit's estimates."""
    precisions = xp.stack([fit.precision.theta, fit.precision.question])
    log_precision = xp.clip(xp.log(precisions), -MOST_LOG_PRECISION, MOST_LOG_PRECISION)
    return Start(parameters_of(fit), log_precision)


def parameters_of(fit: Fit) -> Parameters:
    """The estimates of a fit as parameters, 0 where they are not finite."""
    judge = xp.where(xp.isfinite(fit.judge), fit.judge, 0.0)
    rubric = xp.where(xp.isfinite(fit.rubric), fit.rubric, 0.0)
    steps = [] if fit.step is None else [-closed_steps(fit.step).ravel()]
    finite = xp.isfinite(fit.score)
    return Parameters(
        # Where questions are random, qualities hold their mean and intercepts do not.
        theta=xp.where(finite[:, None], fit.quality - fit.intercept[:, None], 0.0),
        question=-fit.question,
        raters=xp.concatenate([-judge, -rubric, *steps]),
        intercept=xp.where(finite, fit.intercept, 0.0),
    )


def from_zero(blocks: Blocks, fixed: dict[str, jax.Array]) -> Parameters:
    """Zeros made from the data, so that they have its sharding; anchors with their sign turned."""
    theta = xp.zeros_like(blocks.trials[:, 0])
    zeros = {
        "judge": xp.zeros(blocks.judges, theta.dtype),
        "rubric": xp.zeros(blocks.items, theta.dtype),
        "question": xp.zeros_like(theta[0]),
    }
    for facet, values in fixed.items():
        zeros[facet] = xp.where(xp.isnan(values), 0.0, -values)
    steps = xp.zeros(blocks.scales * blocks.steps, theta.dtype)
    return Parameters(
        theta=theta,
        question=zeros["question"],
        raters=xp.concatenate([zeros["judge"], zeros["rubric"], steps]),
        intercept=xp.zeros_like(theta[:, 0]),
    )


def from_margins(
    blocks: Blocks,
    sums: Totals,
    fixed: dict[str, jax.Array],
    precision: Precision,
    design: Design,
) -> Parameters:
    """Estimates from sums over cells, judges and items, of a binomial with the highest scores as
    trials; anchored facets, and steps, as such a binomial has them."""
    zero = from_zero(blocks, fixed)
    active = blocks.active[:, None, None]
    most, successes = active * sums.most, active * sums.successes
    of_raters = (most.sum(axis=(0, 2)), successes.sum(axis=(0, 2)))
    most, successes = (array[:, : blocks.judges].sum(axis=1) for array in (most, successes))
    tiny = xp.finfo(most.dtype).tiny

    # Half a rating on either side at least, and what the prior is worth.
    pseudo = xp.maximum(2.0 * precision.theta, 0.5)
    cell = xp.log((successes + pseudo) / (most - successes + pseudo))
    known = most / (most + 4.0 * precision.theta)
    middle = (known * cell).sum() / xp.maximum(known.sum(), tiny)
    cell_spread = (known * (cell - middle) ** 2).sum() / xp.maximum(known.sum(), tiny)
    raters, spread = _rater_margins(*of_raters, zero, cell_spread, precision, design)

    flat = 1.0 / xp.sqrt(1.0 + spread / FLATTENING)

    def level(information: jax.Array, pull: jax.Array) -> jax.Array:
        """(M,) intercepts."""
        if design.center == "zero":
            return zero.intercept
        information, pull = information.sum(axis=1), pull.sum(axis=1)
        if design.center == "grand":
            information, pull = information.sum(), pull.sum()
        return zero.intercept + pull / xp.maximum(information, tiny)

    free_question = design.free_question
    intercept = level(known, known * cell / flat)
    left = cell / flat - intercept[:, None]
    prior = precision.question
    question = (known * left).sum(axis=0)
    question = question / xp.maximum(known.sum(axis=0) + prior / precision.theta, tiny)
    question = xp.where(free_question, question, zero.question)
    theta = xp.where(most > 0.0, left - question, 0.0)

    def advance(carry, _):
        theta, question, intercept = carry
        p = xp.sigmoid(flat * (intercept[:, None] + question + theta))
        residual, weight = flat * (successes - most * p), flat**2 * most * p * (1.0 - p)
        shrink = precision.theta / (weight + precision.theta)
        shared = shrink * weight
        carried = shrink * residual + (1.0 - shrink) * precision.theta * theta
        move = xp.clip(level(shared, carried), -1.0, 1.0)
        turn = (carried - shared * move[:, None]).sum(axis=0) - prior * question
        turn = turn / xp.maximum(shared.sum(axis=0) + prior, tiny)
        turn = xp.where(free_question, xp.clip(turn, -1.0, 1.0), 0.0)
        move = move + xp.clip(level(shared, carried - shared * (move[:, None] + turn)), -1.0, 1.0)
        step = residual - precision.theta * theta - weight * (move[:, None] + turn)
        step = step / (weight + precision.theta)
        return (theta + xp.clip(step, -1.5, 1.5), question + turn, intercept + move), None

    carry, _ = xp.scan(advance, (theta, question, intercept), xp.arange(CELL_STEPS))
    theta, question, intercept = carry
    intercept = xp.where(design.free_model | (design.center != "model"), intercept, 0.0)
    return constrained(Parameters(theta, question, raters, intercept), design)


def _rater_margins(
    most: jax.Array,
    successes: jax.Array,
    zero: Parameters,
    cell_spread: jax.Array,
    precision: Precision,
    design: Design,
) -> tuple[jax.Array, jax.Array]:
    """(R,) judges, items and steps, and the variance that their differences add within a cell."""
    logit = xp.log((successes + 0.5) / (most - successes + 0.5))
    judges, items = design.judges, design.mains - design.judges
    prior = rater_precision(precision, most, judges, items)
    places = (slice(judges), slice(judges, design.mains))
    moving = (
        design.free_judge & design.zero_sum_judge,
        design.free_rubric & design.zero_sum_rubric,
    )
    flat = []
    for place, free in zip(places, moving, strict=True):
        mean = xp.where(free, logit[place], 0.0).sum() / xp.maximum(free.sum(), 1)
        shrunk = (logit[place] - mean) * most[place] / (most[place] + 4.0 * prior[place])
        flat.append(xp.where(free, shrunk, zero.raters[place]))
    spread = [(values**2).mean() for values in flat]
    judge, rubric = (
        xp.where(free, values * xp.sqrt(1.0 + (cell_spread + other) / FLATTENING), values)
        for free, values, other in zip(moving, flat, spread[::-1], strict=True)
    )
    steps = zero.raters[design.mains :].reshape(design.scales, design.steps)
    if design.scales:
        rank = xp.arange(design.steps)
        left = xp.maximum(design.step_counts[:, None] - rank, 1)
        steps = xp.where(rank < design.step_counts[:, None], xp.log(left / (rank + 1.0)), 0.0)
        steps = steps.astype(judge.dtype)
    return xp.concatenate([judge, rubric, steps.ravel()]), spread[0] + spread[1]


def constrained(start: Parameters, design: Design) -> Parameters:
    """The start with the sums that the design wants."""
    steps = start.raters[design.mains :].reshape(design.scales, design.steps)
    if design.scales:
        # Categories that are closed up here have no step.
        inside = np.arange(design.steps) < design.step_counts[:, None]
        mean = xp.where(inside, steps, 0.0).sum(axis=1) / xp.maximum(design.step_counts, 1)
        steps = xp.where(inside, steps - mean[:, None], 0.0)
    mean = start.question.mean() if design.constrained_question else 0.0
    border = xp.concatenate([start.raters[: design.mains], steps.ravel(), start.intercept + mean])
    border = design.to_zero_sum(border)
    return dataclasses.replace(
        start,
        question=start.question - mean,
        raters=border[: design.raters],
        intercept=border[design.raters :],
    )
