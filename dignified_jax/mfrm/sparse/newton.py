"""Newton's method on lists of ratings, each step by conjugate gradients.

A step that changes a logit of yes/no ratings by c > 1 is cut to log(1 + c) / c of itself. Of
ordinal ratings c is of the log-odds of any two categories, which is large where there are many: a
step is taken whole first, and cut only where the objective falls at its end. (See `solver.ridge`.)
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.sparse.rating_list import Mains, RatingList
from dignified_jax.mfrm.sparse.system import System, scaled, system

Point = tuple[jax.Array, Mains]


@functools.partial(jax.jit, static_argnames="max_iterations")
def maximise(
    ratings: RatingList,
    active: jax.Array,
    precision: Precision,
    tolerance: jax.Array,
    max_iterations: int,
) -> tuple[jax.Array, Mains, jax.Array, jax.Array]:
    """theta, mains, the last largest change of a logit, iterations."""
    models, questions, judges, items = ratings.sizes
    dtype = ratings.trials.dtype
    step = None if ratings.step_used is None else jnp.zeros_like(ratings.step_used)
    mains = Mains(*(jnp.zeros(size, dtype) for size in (judges, items, questions, models)), step)
    theta = jnp.zeros((models, questions), dtype)
    change, count = jnp.asarray(jnp.inf, dtype), jnp.asarray(0, jnp.int32)

    def at_point(point: Point) -> System:
        return system(ratings, active, *point, precision)

    def unfinished(state) -> jax.Array:
        return (state[2] > tolerance) & (state[3] < max_iterations)

    def advance(state):
        theta, mains, _, count = state
        d_theta, d_mains = newton_step(at_point((theta, mains)), theta, mains)
        change = _largest_change(d_theta, d_mains)
        scale = jnp.where(change > 1.0, jnp.log1p(change) / change, 1.0)
        return *_plus((theta, mains), scale, (d_theta, d_mains)), change, count + 1

    def advance_whole(state):
        theta, mains, change, count, base, step, cut = state
        at = at_point((theta, mains))
        back = (change > 1.0) & ~cut & (_slope(at, (theta, mains), step) < 0.0)
        base = jax.tree.map(lambda a, b: jnp.where(back, a, b), base, (theta, mains))
        step = jax.lax.cond(back, lambda: step, lambda: newton_step(at, theta, mains))
        change = _largest_change(*step)
        scale = jnp.where(back, jnp.log1p(change) / change, 1.0)
        return *_plus(base, scale, step), change, count + 1, base, step, back

    if ratings.step_used is None:
        return jax.lax.while_loop(unfinished, advance, (theta, mains, change, count))
    start = (theta, mains)
    nowhere = jax.tree.map(jnp.zeros_like, start)
    state = (*start, change, count, start, nowhere, jnp.asarray(False))
    return jax.lax.while_loop(unfinished, advance_whole, state)[:4]


def newton_step(at: System, theta: jax.Array, mains: Mains) -> tuple[jax.Array, Mains]:
    """Changes of theta (M, Q) and of the mains."""
    ratings, precision = at.ratings, at.precision
    gradient = ratings.by_cell(at.residual) - precision.theta * theta
    shared = ratings.at_cell(gradient / at.curvature)
    carried = at.gather(at.residual - at.weight * shared, -shared)
    if at.steps is not None:
        carried = dataclasses.replace(carried, step=carried.step + at.steps.residual)
    right = jax.tree.map(jnp.subtract, carried, scaled(precision, mains))
    step = at.solve(right)
    return (gradient - ratings.by_cell(at.pulled(step))) / at.curvature, step


def _largest_change(theta: jax.Array, mains: Mains) -> jax.Array:
    """Upper bound on the change of any logit; ordinal: of the log-odds of any two categories."""
    parts = [mains.intercept[:, None] + theta + mains.question, mains.judge]
    change = sum(jnp.abs(part).max() for part in [*parts, mains.rubric])
    if mains.step is None:
        return change
    passed = jnp.pad(jnp.cumsum(mains.step, axis=1), ((0, 0), (1, 0)))
    return mains.step.shape[1] * change + (passed.max(axis=1) - passed.min(axis=1)).max()


def _slope(at: System, point: Point, step: Point) -> jax.Array:
    """Derivative of the penalised log-likelihood of ordinal ratings along a step."""
    (theta, mains), (d_theta, d_mains) = point, step
    logit = d_mains.at(at.ratings) + at.ratings.at_cell(d_theta)
    rising = (at.residual * logit).sum() + (at.steps.residual * d_mains.step).sum()
    prior = at.precision.theta * (theta * d_theta).sum()
    return rising - prior - scaled(at.precision, mains).dot(d_mains)


def _plus(point: Point, scale: jax.Array, step: Point) -> Point:
    return jax.tree.map(lambda a, b: a + scale * b, point, step)
