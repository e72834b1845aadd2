"""Standard errors of sparse fits: one solve with the eliminated information each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from dignified_jax.mfrm.result import StandardErrors
from dignified_jax.mfrm.sparse.rating_list import Mains
from dignified_jax.mfrm.sparse.system import COLUMNS, System

Errors = Literal["scores", "levels", "all"]
ERRORS: tuple[Errors, ...] = ("scores", "levels", "all")


@functools.partial(jax.jit, static_argnames="errors")
def standard_errors(at: System, errors: Errors) -> tuple[StandardErrors, jax.Array]:
    """Standard errors (NaN where not asked for) and the (M, M) covariance of scores.

    "scores": scores, intercepts, items and steps, 2 M + I solves and one a step; "levels": judges
    and questions too, J + Q more; "all": qualities and theta too, M Q more.
    """
    models, questions, judges, items = at.ratings.sizes
    dtype = at.weight.dtype

    def cells(share: jax.Array) -> Mains:
        """Gradient of the sum of share (M, Q) times quality."""
        shared = at.ratings.at_cell(share / at.curvature)
        path = jax.tree.map(jnp.negative, at.gather(at.weight * shared, shared))
        intercept = path.intercept + share.sum(axis=1)
        return at.project(dataclasses.replace(path, intercept=intercept))

    def one_level(place: jax.Array) -> jax.Array:
        """Variance of the place-th level, facet after facet."""
        ends = {"rubric": items, "intercept": models, "judge": judges, "question": questions}
        unit, first = {}, 0
        for facet, size in ends.items():
            unit[facet] = (jnp.arange(first, first + size) == place).astype(dtype)
            first += size
        step = None if at.steps is None else jnp.zeros(at.steps.residual.shape, dtype)
        gradient = at.project(Mains(**unit, step=step))
        return gradient.dot(at.solve(gradient))

    def one_step(place: jax.Array) -> jax.Array:
        """Variance of the place-th step, set after set."""
        shape = at.steps.residual.shape
        step = (jnp.arange(shape[0] * shape[1]) == place).astype(dtype).reshape(shape)
        empty = jax.tree.map(jnp.zeros_like, at.diagonal)
        gradient = at.project(dataclasses.replace(empty, step=step))
        return gradient.dot(at.solve(gradient))

    def one_score(model: jax.Array) -> tuple[Mains, Mains]:
        path = cells(jnp.zeros_like(at.curvature).at[model].set(1.0 / questions))
        return path, at.solve(path)

    def one_cell(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Variance of quality besides 1 / D, and its covariance with the intercept."""
        model = place // questions
        path = cells(jnp.zeros_like(at.curvature).at[model, place % questions].set(1.0))
        answer = at.solve(path)
        return path.dot(answer), answer.intercept[model]

    paths, answers = _each(one_score, models)
    shared = jax.vmap(lambda path: jax.vmap(path.dot)(answers))(paths)
    covariance = shared + jnp.diag((1.0 / at.curvature).mean(axis=1) / questions)
    levels = items + models + (0 if errors == "scores" else judges + questions)
    variance = _each(one_level, levels)
    found = jnp.full(items + models + judges + questions, jnp.nan, dtype)
    found = jnp.sqrt(found.at[:levels].set(variance))
    rubric, intercept, judge, question = jnp.split(
        found, [items, items + models, items + models + judges]
    )
    step = None
    if at.steps is not None:
        step = _each(one_step, at.steps.residual.size).reshape(at.steps.residual.shape)
    quality = theta = jnp.full_like(at.curvature, jnp.nan)
    if errors == "all":
        quality, across = _each(one_cell, models * questions)
        quality = quality.reshape(models, questions) + 1.0 / at.curvature
        # theta is quality less the intercept.
        theta = quality - 2.0 * across.reshape(models, questions) + intercept[:, None] ** 2
    return StandardErrors(
        theta=jnp.sqrt(theta),
        quality=jnp.sqrt(quality),
        judge=judge,
        rubric=rubric,
        question=question,
        intercept=intercept,
        score=jnp.sqrt(jnp.diag(covariance)),
        step=None if step is None else jnp.sqrt(step),
    ), covariance


def _each(function: Callable[[jax.Array], PyTree], count: int) -> PyTree:
    """Stacks the values at 0 ... count - 1, COLUMNS at a time."""
    columns = min(COLUMNS, count)
    padded = jnp.arange(-(-count // columns) * columns) % count
    found = jax.lax.map(function, padded, batch_size=columns)
    return jax.tree.map(lambda leaf: leaf[:count], found)
