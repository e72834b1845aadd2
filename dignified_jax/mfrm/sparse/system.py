"""Ridge fits of lists of ratings, for many judges who rate little each.

The dense arrays of `fit` hold every (model, question, judge, rubric) place, and its Newton system a
dense border of judges, items and models. Here ratings are a list, sums go by segment, and the
system, with theta eliminated as in `arrow`, is solved by conjugate gradients without ever being
formed. On v = (judge, rubric, question, intercept), with t_n the sum of a rating's entries of v,
w_n its weight and c(n) its cell,

    S v = sum_n a_n w_n (t_n - sum_{n' in c(n)} w_n' t_n' / D_c(n)) + priors v,    D = W + p_theta

costs O(ratings). Facets sum to zero by projection, preconditioned by the diagonal.

Standard errors come from solves with the same S: a linear combination of the estimates with
gradient u in v has the variance u' S^-1 u, plus that of theta given v. They are exact to the
solver's tolerance (a relative residual of SOLVED); nothing is taken as independent that is not.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import Precision

SOLVED = {"float32": 1e-5, "float64": 1e-11}
MOST_SOLVER_ITERATIONS = 1000
COLUMNS = 32  # right-hand sides solved together


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RatingList:
    """N ratings, and the numbers of models, questions, judges and items.

    Attributes:
      index: facet -> (N,) int32; of rubric items (F, N), a row for each facet alike to
        them, whose levels stand one after the other.
      block: (I,) int32, which of the F facets a rubric item is of.
      successes: (N,).
      trials: (N,).
      sizes: (M, Q, J, I).
    """

    index: dict[str, jax.Array]
    successes: jax.Array
    trials: jax.Array
    block: jax.Array
    sizes: tuple[int, int, int, int] = dataclasses.field(metadata={"static": True})

    def by_cell(self, values: jax.Array) -> jax.Array:
        """(M, Q) sums of (N,) values."""
        models, questions = self.sizes[:2]
        place = self.index["model"] * questions + self.index["question"]
        return jax.ops.segment_sum(values, place, models * questions).reshape(models, questions)

    def at_cell(self, values: jax.Array) -> jax.Array:
        """(N,) entries of (M, Q) values."""
        return values[self.index["model"], self.index["question"]]

    def by_level(self, values: jax.Array, facet: str) -> jax.Array:
        """(J,) or (I,) sums of (N,) values."""
        size = self.sizes[2] if facet == "judge" else self.sizes[3]
        place = self.index[facet]
        values = jnp.broadcast_to(values, place.shape)
        return jax.ops.segment_sum(values.ravel(), place.ravel(), size)

    def centred(self, rubric: jax.Array) -> jax.Array:
        """(I,) values less the mean of each facet's own."""
        number = jax.ops.segment_sum(jnp.ones_like(rubric), self.block, len(rubric))
        total = jax.ops.segment_sum(rubric, self.block, len(rubric))
        return rubric - (total / jnp.maximum(number, 1))[self.block]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mains:
    """One value a level; as effects they add up to the logit.

    Attributes:
      judge: (J,).
      rubric: (I,).
      question: (Q,).
      intercept: (M,).
    """

    judge: jax.Array
    rubric: jax.Array
    question: jax.Array
    intercept: jax.Array

    def at(self, ratings: RatingList) -> jax.Array:
        """(N,) their sums at each rating."""
        index = ratings.index
        raters = self.judge[index["judge"]] + self.rubric[index["rubric"]].sum(axis=0)
        return raters + ratings.at_cell(self.intercept[:, None] + self.question)

    def dot(self, other: Mains) -> jax.Array:
        products = jax.tree.map(lambda a, b: (a * b).sum(), self, other)
        return sum(jax.tree.leaves(products))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class System:
    """S at one point, and what else a step there needs.

    Attributes:
      ratings: the list.
      active: (M,) 1, or 0 for models without a finite intercept.
      weight: (N,).
      residual: (N,).
      curvature: (M, Q) D.
      precision: of the priors.
      diagonal: S's, less what a cell's ratings of one level share.
    """

    ratings: RatingList
    active: jax.Array
    weight: jax.Array
    residual: jax.Array
    curvature: jax.Array
    precision: Precision
    diagonal: Mains

    def project(self, v: Mains) -> Mains:
        """The nearest point whose facets sum to zero."""
        return Mains(
            judge=v.judge - v.judge.mean(),
            rubric=self.ratings.centred(v.rubric),
            question=v.question - v.question.mean(),
            intercept=v.intercept * self.active,
        )

    def gather(self, values: jax.Array) -> Mains:
        """Sums of (N,) values by level."""
        cell = self.ratings.by_cell(values)
        return Mains(
            judge=self.ratings.by_level(values, "judge"),
            rubric=self.ratings.by_level(values, "rubric"),
            question=cell.sum(axis=0),
            intercept=cell.sum(axis=1),
        )

    def times(self, v: Mains) -> Mains:
        """S v."""
        pulled = self.weight * v.at(self.ratings)
        shared = self.ratings.by_cell(pulled) / self.curvature
        spread = self.gather(pulled - self.weight * self.ratings.at_cell(shared))
        return jax.tree.map(lambda a, b: a + b, spread, scaled(self.precision, v))

    def solve(self, right: Mains) -> Mains:
        """S^-1 `right` where facets sum to zero, by conjugate gradients."""
        return conjugate_gradients(
            lambda v: self.project(self.times(v)),
            lambda v: self.project(jax.tree.map(jnp.divide, v, self.diagonal)),
            self.project(right),
            SOLVED[str(self.weight.dtype)],
        )


def scaled(precision: Precision, v: Mains) -> Mains:
    """Priors times v; intercepts have none."""
    return Mains(
        judge=precision.judge * v.judge,
        rubric=precision.rubric * v.rubric,
        question=precision.question * v.question,
        intercept=jnp.zeros_like(v.intercept),
    )


def system(
    ratings: RatingList, active: jax.Array, theta: jax.Array, mains: Mains, precision: Precision
) -> System:
    """S and the residuals at theta (M, Q) and mains; see `moments` for the formulas."""
    kept = active[ratings.index["model"]]
    y, n = kept * ratings.successes, kept * ratings.trials
    x = mains.at(ratings) + ratings.at_cell(theta)
    z = jnp.exp(-jnp.abs(x))
    near = 1.0 / (1.0 + z)
    far = z * near
    positive = x >= 0.0
    residual = y * jnp.where(positive, far, near) - (n - y) * jnp.where(positive, near, far)
    weight = n * (far * near)
    curvature = ratings.by_cell(weight) + precision.theta
    empty = jax.tree.map(jnp.zeros_like, mains)
    blank = System(ratings, active, weight, residual, curvature, precision, empty)
    diagonal = blank.gather(weight * (1.0 - weight / ratings.at_cell(curvature)))
    prior = scaled(precision, jax.tree.map(jnp.ones_like, mains))
    # A level without information is held by nothing; its entries are 0 throughout.
    diagonal = jax.tree.map(lambda a, b: jnp.where(a + b > 0, a + b, 1.0), diagonal, prior)
    return dataclasses.replace(blank, diagonal=diagonal)


def newton_step(at: System, theta: jax.Array, mains: Mains) -> tuple[jax.Array, Mains]:
    """Changes of theta (M, Q) and of the mains."""
    ratings, precision = at.ratings, at.precision
    gradient = ratings.by_cell(at.residual) - precision.theta * theta
    carried = at.residual - at.weight * ratings.at_cell(gradient / at.curvature)
    right = jax.tree.map(jnp.subtract, at.gather(carried), scaled(precision, mains))
    step = at.solve(right)
    return (gradient - ratings.by_cell(at.weight * step.at(ratings))) / at.curvature, step


def conjugate_gradients(
    times: Callable[[Mains], Mains],
    precondition: Callable[[Mains], Mains],
    right: Mains,
    tolerance: float,
) -> Mains:
    """The solution of times(v) = right, to a relative residual in the preconditioner's norm."""

    def plus(a: Mains, b: Mains, factor: jax.Array) -> Mains:
        return jax.tree.map(lambda x, y: x + factor * y, a, b)

    start = precondition(right)
    size = right.dot(start)

    def advance(state):
        v, residual, direction, old, count = state
        image = times(direction)
        length = old / direction.dot(image)
        v, residual = plus(v, direction, length), plus(residual, image, -length)
        better = precondition(residual)
        new = residual.dot(better)
        return v, residual, plus(better, direction, new / old), new, count + 1

    def unfinished(state):
        return (state[3] > tolerance**2 * size) & (state[4] < MOST_SOLVER_ITERATIONS)

    zero = jax.tree.map(jnp.zeros_like, right)
    state = (zero, right, start, size, jnp.asarray(0, jnp.int32))
    return jax.lax.while_loop(unfinished, advance, state)[0]


@functools.partial(jax.jit, static_argnames="max_iterations")
def maximise(
    ratings: RatingList,
    active: jax.Array,
    precision: Precision,
    tolerance: jax.Array,
    max_iterations: int,
) -> tuple[jax.Array, Mains, jax.Array, jax.Array]:
    """theta, mains, the last largest change of a logit, iterations; steps as in `ridge`."""
    models, questions, judges, items = ratings.sizes
    dtype = ratings.trials.dtype

    def advance(state):
        theta, mains, _, count = state
        d_theta, d_mains = newton_step(
            system(ratings, active, theta, mains, precision), theta, mains
        )
        parts = [d_mains.intercept[:, None] + d_theta + d_mains.question, d_mains.judge]
        change = sum(jnp.abs(part).max() for part in [*parts, d_mains.rubric])
        scale = jnp.where(change > 1.0, jnp.log1p(change) / change, 1.0)
        mains = jax.tree.map(lambda a, b: a + scale * b, mains, d_mains)
        return theta + scale * d_theta, mains, change, count + 1

    mains = Mains(*(jnp.zeros(size, dtype) for size in (judges, items, questions, models)))
    theta = jnp.zeros((models, questions), dtype)
    state = (theta, mains, jnp.asarray(jnp.inf, dtype), jnp.asarray(0, jnp.int32))
    return jax.lax.while_loop(
        lambda state: (state[2] > tolerance) & (state[3] < max_iterations), advance, state
    )
