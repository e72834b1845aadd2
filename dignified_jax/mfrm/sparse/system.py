"""Ridge fits of lists of ratings, for many judges who rate little each.

The dense arrays of `fit` hold every (model, question, judge, rubric) place, and its Newton system a
dense border of judges, items and models. Here ratings are a list, sums go by segment, and the
system, with theta eliminated as in `arrow`, is solved by conjugate gradients without ever being
formed. On v = (judge, rubric, question, intercept), with t_n the sum of a rating's entries of v,
w_n its weight and c(n) its cell,

    S v = sum_n a_n w_n (t_n - sum_{n' in c(n)} w_n' t_n' / D_c(n)) + priors v,    D = W + p_theta

costs O(ratings). Facets sum to zero by projection, preconditioned by the diagonal. Of ordinal
ratings v has the steps s as well, which meet the logit with the weights h_n and each other with B
(see `ordinal`): t_n w_n becomes w_n t_n + h_n s, and the steps' part of S v is

    sum_n h_n (t_n - sum_{n' in c(n)} (w_n' t_n' + h_n' s) / D_c(n)) + B s

Standard errors come from solves with the same S: a linear combination of the estimates with
gradient u in v has the variance u' S^-1 u, plus that of theta given v. They are exact to the
solver's tolerance (a relative residual of SOLVED); nothing is taken as independent that is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.sparse import ordinal
from dignified_jax.mfrm.sparse.rating_list import Mains, RatingList

SOLVED = {"float32": 1e-5, "float64": 1e-11}
MOST_SOLVER_ITERATIONS = 1000
COLUMNS = 32  # right-hand sides solved together


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
      steps: what ordinal ratings have besides; None of yes/no.
    """

    ratings: RatingList
    active: jax.Array
    weight: jax.Array
    residual: jax.Array
    curvature: jax.Array
    precision: Precision
    diagonal: Mains
    steps: ordinal.StepSums | None = None

    def project(self, v: Mains) -> Mains:
        """The nearest point whose facets sum to zero."""
        return Mains(
            judge=v.judge - v.judge.mean(),
            rubric=self.ratings.centred(v.rubric),
            question=v.question - v.question.mean(),
            intercept=v.intercept * self.active,
            step=None if self.steps is None else self.ratings.centred_steps(v.step),
        )

    def pulled(self, v: Mains) -> jax.Array:
        """(N,) changes of the expected scores along v, but for theta's."""
        pulled = self.weight * v.at(self.ratings)
        if self.steps is None:
            return pulled
        return pulled + (self.steps.coupling * self.ratings.at_set(v.step)).sum(axis=0)

    def gather(self, values: jax.Array, logits: jax.Array) -> Mains:
        """Sums of (N,) values by level; by step those of what (N,) logits, or (K - 1, N), do."""
        cell = self.ratings.by_cell(values)
        step = None
        if self.steps is not None:
            step = self.ratings.by_set(self.steps.coupling * logits)
        return Mains(
            judge=self.ratings.by_level(values, "judge"),
            rubric=self.ratings.by_level(values, "rubric"),
            question=cell.sum(axis=0),
            intercept=cell.sum(axis=1),
            step=step,
        )

    def times(self, v: Mains) -> Mains:
        """S v."""
        pulled = self.pulled(v)
        shared = self.ratings.at_cell(self.ratings.by_cell(pulled) / self.curvature)
        spread = self.gather(pulled - self.weight * shared, v.at(self.ratings) - shared)
        if self.steps is not None:
            own = jnp.einsum("skl,sl->sk", self.steps.block, v.step)
            spread = dataclasses.replace(spread, step=spread.step + own)
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
    """Priors times v; intercepts and steps have none."""
    return Mains(
        judge=precision.judge * v.judge,
        rubric=precision.rubric * v.rubric,
        question=precision.question * v.question,
        intercept=jnp.zeros_like(v.intercept),
        step=None if v.step is None else jnp.zeros_like(v.step),
    )


def system(
    ratings: RatingList, active: jax.Array, theta: jax.Array, mains: Mains, precision: Precision
) -> System:
    """S and the residuals at theta (M, Q) and mains; see `moments` for the formulas."""
    kept = active[ratings.index["model"]]
    y, n = kept * ratings.successes, kept * ratings.trials
    x = mains.at(ratings) + ratings.at_cell(theta)
    steps = None
    if mains.step is None:
        z = jnp.exp(-jnp.abs(x))
        near = 1.0 / (1.0 + z)
        far = z * near
        positive = x >= 0.0
        residual = y * jnp.where(positive, far, near) - (n - y) * jnp.where(positive, near, far)
        weight = n * (far * near)
    else:
        residual, weight, steps = ordinal.sums(ratings, kept, x, mains.step)
    curvature = ratings.by_cell(weight) + precision.theta
    empty = jax.tree.map(jnp.zeros_like, mains)
    blank = System(ratings, active, weight, residual, curvature, precision, empty, steps)
    at_cell = ratings.at_cell(curvature)
    shared = 0.0 if steps is None else -steps.coupling / at_cell
    diagonal = blank.gather(weight * (1.0 - weight / at_cell), shared)
    if steps is not None:
        own = diagonal.step + jnp.diagonal(steps.block, axis1=1, axis2=2)
        diagonal = dataclasses.replace(diagonal, step=own)
    prior = scaled(precision, jax.tree.map(jnp.ones_like, mains))
    # A level without information is held by nothing; its entries are 0 throughout.
    diagonal = jax.tree.map(lambda a, b: jnp.where(a + b > 0, a + b, 1.0), diagonal, prior)
    return dataclasses.replace(blank, diagonal=diagonal)


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
