"""Drift: does a judge's severity change over an order or a time?

A judge's ratings are put in the order of their time, from t = 0, its first, to t = 1, its last, by
rank, so that pauses do not count; equal times share their mean rank. With all estimates of the fit
held, each judge has a line a + b t added to its logits, at the maximum of its ratings' likelihood:

    drift = -b    the change of its severity, in logits, from its first to its last rating

The test is the score test at b = 0, with t from its mean weighted by the variances W,

    z = - sum r t / sqrt(sum W t^2)

and q the false discovery rate over judges. The severities of PARTS parts of equal length are those
that make each part's expected sum of scores the observed one. (FACETS fits such a table with time
as a dummy facet and a bias of judge by time; Myford & Wolfe, 2009, "Monitoring rater performance
over time".)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import logits
from dignified_jax.mfrm.diagnostics.interactions import false_discovery_rate
from dignified_jax.mfrm.diagnostics.scale import Scale
from dignified_jax.mfrm.diagnostics.sensitivity import mean_ranks
from dignified_jax.mfrm.input.order import RatingOrder
from dignified_jax.mfrm.result import FACETS, Fit

PARTS = 4
MOST_STEPS = 50
# Beyond this a part has only the highest or only the lowest scores.
MOST_LOGITS = 15.0

# (N,) logits -> residuals and variances of the ratings.
Moments = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Drift:
    """All (J,) unless noted; NaN where a judge's ratings do not tell.

    Attributes:
      column: of the order.
      count: numbers of ratings with a time and a finite measure.
      drift: change of severity from the first rating to the last.
      standard_error: of the drift.
      z: of the score test.
      p: two-sided.
      q: false discovery rate over the judges.
      severity: (J, PARTS) of each part of the judge's ratings; infinite where all are alike.
      part_error: (J, PARTS) standard errors.
      without_time: number of ratings left out for want of a time.
    """

    column: str
    count: np.ndarray
    drift: np.ndarray
    standard_error: np.ndarray
    z: np.ndarray
    p: np.ndarray
    q: np.ndarray
    severity: np.ndarray
    part_error: np.ndarray
    without_time: int


def drift(fit: Fit, order: RatingOrder) -> Drift:
    """Change of every judge's severity over the order of its ratings.

    Args:
      fit: from these ratings.
      order: of the ratings, from `from_long(..., order=COLUMN)`.

    Raises:
      ValueError: for an order of other levels than the fit's.
    """
    shape = (*fit.quality.shape, *fit.judge.shape, *fit.rubric.shape)
    for facet, size in zip(FACETS, shape, strict=True):
        if order.index[facet].size and order.index[facet].max() >= size:
            raise ValueError(f"order has {facet} {order.index[facet].max()}, the fit {size} levels")
    places = tuple(order.index[facet] for facet in FACETS)
    base = np.asarray(logits(fit), float)[places]
    known = np.isfinite(base) & np.isfinite(order.time)
    judge = order.index["judge"][known]
    base = base[known]
    moments = _moments(fit, order, known)
    judges = shape[2]
    t = np.empty(judge.size)
    for level in range(judges):
        own = judge == level
        t[own] = _from_first_to_last(order.time[known][own])

    def over(values: np.ndarray) -> np.ndarray:
        return np.bincount(judge, weights=values, minlength=judges)

    residual, variance = moments(base)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = t - (over(variance * t) / over(variance))[judge]
        information = over(variance * away**2)
        told = information > 1e-9
        z = np.where(told, -over(residual * away) / np.sqrt(information), np.nan)
    slope, error = _lines(moments, base, t, over, judge)
    p = np.array([math.erfc(abs(value) / math.sqrt(2.0)) for value in z])
    part = np.minimum((t * PARTS).astype(int), PARTS - 1)
    bias, part_error = _levels(moments, base, judge * PARTS + part, judges * PARTS)
    severity = np.asarray(fit.judge, float)[:, None] - bias.reshape(judges, PARTS)
    return Drift(
        column=order.column,
        count=over(np.ones(judge.size)).astype(int),
        drift=np.where(told, -slope, np.nan),
        standard_error=np.where(told, error, np.nan),
        z=z,
        p=p,
        q=np.asarray(false_discovery_rate(p), float),
        severity=severity,
        part_error=part_error.reshape(judges, PARTS),
        without_time=int((~np.isfinite(order.time)).sum()),
    )


def _from_first_to_last(time: np.ndarray) -> np.ndarray:
    """(N,) ranks of times from 0 to 1; one half where there is one time only."""
    if time.size < 2:
        return np.full(time.shape, 0.5)
    return (mean_ranks(time) - 1.0) / (time.size - 1.0)


def _moments(fit: Fit, order: RatingOrder, known: np.ndarray) -> Moments:
    """Moments of the known ratings as a function of their logits."""
    scale = Scale.of(fit)
    rank, passed = scale.rank, scale.passed()
    item = order.index["rubric"][known] if len(rank) > 1 else np.zeros(known.sum(), int)
    score, trials = order.score[known].astype(float), order.trials[known].astype(float)
    if fit.step is not None:
        score = rank[item, order.score[known]]
    rank, passed = rank[item], passed[item]

    def moments(logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        potential = logit[:, None] * rank - passed
        weight = np.exp(potential - potential.max(axis=1, keepdims=True))
        chance = weight / weight.sum(axis=1, keepdims=True)
        mean = (chance * rank).sum(axis=1)
        variance = (chance * (rank - mean[:, None]) ** 2).sum(axis=1)
        return score - trials * mean, trials * variance

    return moments


def _lines(
    moments: Moments,
    base: np.ndarray,
    t: np.ndarray,
    over: Callable[[np.ndarray], np.ndarray],
    judge: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(J,) slopes of the judges' lines and their standard errors, by Newton's method."""
    intercept = slope = np.zeros(over(t).size)
    for _ in range(MOST_STEPS):
        residual, variance = moments(base + intercept[judge] + slope[judge] * t)
        first, second = over(residual), over(residual * t)
        a, b, c = over(variance), over(variance * t), over(variance * t * t)
        determinant = a * c - b * b
        safe = np.where(determinant > 1e-12, determinant, np.inf)
        steps = ((c * first - b * second) / safe, (a * second - b * first) / safe)
        intercept, slope = (
            value + np.clip(step, -1.0, 1.0)
            for value, step in zip((intercept, slope), steps, strict=True)
        )
        if max(np.abs(step).max(initial=0.0) for step in steps) < 1e-9:
            break
    slope = np.where(np.abs(slope) >= MOST_LOGITS, np.copysign(np.inf, slope), slope)
    error = np.sqrt(np.where(determinant > 1e-12, a, np.nan) / safe)
    return slope, np.where(np.isfinite(slope), error, np.inf)


def _levels(
    moments: Moments, base: np.ndarray, group: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """(G,) logits to add to each group's ratings and their standard errors; NaN without ratings."""
    bias = np.zeros(groups)
    for _ in range(MOST_STEPS):
        residual, variance = moments(base + bias[group])
        total, information = (
            np.bincount(group, weights=values, minlength=groups) for values in (residual, variance)
        )
        step = np.divide(total, information, out=np.zeros(groups), where=information > 1e-12)
        bias = bias + np.clip(step, -1.0, 1.0)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    rated = np.bincount(group, minlength=groups) > 0
    bias = np.where(np.abs(bias) >= MOST_LOGITS, np.copysign(np.inf, bias), bias)
    with np.errstate(divide="ignore"):
        error = np.where(np.isfinite(bias), 1.0 / np.sqrt(information), np.inf)
    return np.where(rated, bias, np.nan), np.where(rated, error, np.nan)
