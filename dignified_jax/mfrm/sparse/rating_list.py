"""Lists of ratings and the effects on them, as arrays of a jitted program."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RatingList:
    """N ratings, and the numbers of models, questions, judges and items.

    Attributes:
      index: facet -> (N,) int32; of rubric items (F, N), a row for each facet alike to
        them, whose levels stand one after the other.
      block: (I,) int32, which of the F facets a rubric item is of.
      successes: (N,); of ordinal ratings their categories, from 0, those in use closed up.
      trials: (N,); of ordinal ratings 1.
      sizes: (M, Q, J, I).
      set_of: (N,) int32, which of the S sets of steps an ordinal rating is of; None of yes/no.
      step_used: (S, K - 1) 1, or 0 where a set has fewer steps than others; None of yes/no.
    """

    index: dict[str, jax.Array]
    successes: jax.Array
    trials: jax.Array
    block: jax.Array
    sizes: tuple[int, int, int, int] = dataclasses.field(metadata={"static": True})
    set_of: jax.Array | None = None
    step_used: jax.Array | None = None

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

    def by_set(self, values: jax.Array) -> jax.Array:
        """(S, K - 1) sums of (K - 1, N) values."""
        if len(self.step_used) == 1:
            return values.sum(axis=1)[None]
        return jax.ops.segment_sum(values.T, self.set_of, len(self.step_used))

    def at_set(self, values: jax.Array) -> jax.Array:
        """(K - 1, N) entries of (S, K - 1) values."""
        return values.T if len(values) == 1 else values[self.set_of].T

    def centred_steps(self, step: jax.Array) -> jax.Array:
        """(S, K - 1) values less the mean of each set's own; 0 where not in use."""
        number = jnp.maximum(self.step_used.sum(axis=1, keepdims=True), 1)
        mean = (self.step_used * step).sum(axis=1, keepdims=True) / number
        return self.step_used * (step - mean)

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
      step: (S, K - 1), into each category but the lowest; None of yes/no ratings.
    """

    judge: jax.Array
    rubric: jax.Array
    question: jax.Array
    intercept: jax.Array
    step: jax.Array | None = None

    def at(self, ratings: RatingList) -> jax.Array:
        """(N,) their sums at each rating, without the steps."""
        index = ratings.index
        raters = self.judge[index["judge"]] + self.rubric[index["rubric"]].sum(axis=0)
        return raters + ratings.at_cell(self.intercept[:, None] + self.question)

    def dot(self, other: Mains) -> jax.Array:
        products = jax.tree.map(lambda a, b: (a * b).sum(), self, other)
        return sum(jax.tree.leaves(products))
