"""Where a search begins: at zero, or near a fit to much the same ratings."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.solver.blocks import Blocks
from dignified_jax.mfrm.solver.extremes import closed_steps
from dignified_jax.mfrm.solver.gauge import Design
from dignified_jax.mfrm.solver.moments import Parameters

# Farther from a variance of 1 the likelihood may be so flat that a search would stay.
MOST_LOG_PRECISION = 3.0


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
