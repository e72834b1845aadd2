"""Which coordinates a fit moves, and the changes of variable between two gauges.

Judges, rubric items and questions sum to zero. Steps are solved in another gauge, where the
best-informed judge, item and question are held at 0 and their share is in the intercepts: there a
level with little information stands in a row of its own, while a zero-sum basis would mix it with
well-informed ones and lose it to rounding in float32. Logits are the same in both. (With center
"zero" there is no intercept to take the questions' share: they keep their constraint.)
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

Center = Literal["model", "grand", "zero"]
CENTERS: tuple[Center, ...] = ("model", "grand", "zero")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Design:
    """Free levels, constraints and intercepts of a fit.

    The border of the system is (judge, rubric, intercept), of length P = J + I + M = R + M.

    Attributes:
      free_judge: (J,) bool, False where anchored.
      free_rubric: (I,) bool.
      free_question: (Q,) bool.
      free_model: (M,) bool, False where an intercept has no finite estimate.
      center: "model": an intercept each; "grand": one for all; "zero": none.
      zero_sum_judge: whether judges sum to zero (not anchored).
      zero_sum_rubric: likewise.
      zero_sum_question: likewise; False too where questions are a random effect.
    """

    free_judge: jax.Array
    free_rubric: jax.Array
    free_question: jax.Array
    free_model: jax.Array
    center: Center = dataclasses.field(metadata={"static": True})
    zero_sum_judge: bool = dataclasses.field(metadata={"static": True})
    zero_sum_rubric: bool = dataclasses.field(metadata={"static": True})
    zero_sum_question: bool = dataclasses.field(metadata={"static": True})

    @property
    def judges(self) -> int:
        """J."""
        return self.free_judge.size

    @property
    def raters(self) -> int:
        """R = J + I."""
        return self.free_judge.size + self.free_rubric.size

    @property
    def reference_question(self) -> bool:
        """Whether a question is held at 0 in the gauge of the solve."""
        return self.zero_sum_question and self.center != "zero"

    def spread(self, dtype: jnp.dtype) -> jax.Array:
        """(P, F) from free coordinates to the border: F = R + (M, 1 or 0) intercepts."""
        models = self.free_model.size
        intercepts = {
            "model": jnp.eye(models, dtype=dtype),
            "grand": jnp.ones((models, 1), dtype),
            "zero": jnp.zeros((models, 0), dtype),
        }[self.center]
        # Without an intercept of its own the model can't take a shift of the judges: moving them
        # by d moves the intercepts by -mean(d), which `to_zero_sum` then brings back to 0.
        shift = -self._means(dtype) if self.center == "zero" else jnp.zeros(self.raters, dtype)
        return jnp.block(
            [
                [
                    jnp.eye(self.raters, dtype=dtype),
                    jnp.zeros_like(intercepts, shape=(self.raters, intercepts.shape[1])),
                ],
                [jnp.tile(shift, (models, 1)), intercepts],
            ]
        )

    def moving(self, information: jax.Array) -> jax.Array:
        """(F,) bool: the free coordinates less a reference level of each zero-sum facet.

        Args:
          information: (R,) of judges and items, the largest of which become the references.
        """
        judge, rubric = self.free_judge, self.free_rubric
        if self.zero_sum_judge:
            best = jnp.argmax(information[: self.judges])
            judge = judge & (jnp.arange(judge.size) != best)
        if self.zero_sum_rubric:
            best = jnp.argmax(information[self.judges :])
            rubric = rubric & (jnp.arange(rubric.size) != best)
        intercepts = {
            "model": self.free_model,
            "grand": self.free_model.any(keepdims=True),
            "zero": self.free_model[:0],
        }[self.center]
        return jnp.concatenate([judge, rubric, intercepts])

    def to_zero_sum(self, border: jax.Array) -> jax.Array:
        """(P, ...) border coordinates of any gauge to those where facets sum to zero."""
        judge, rubric = border[: self.judges], border[self.judges : self.raters]
        intercept = border[self.raters :]
        if self.zero_sum_judge:
            intercept = intercept + judge.mean(axis=0)
            judge = judge - judge.mean(axis=0)
        if self.zero_sum_rubric:
            intercept = intercept + rubric.mean(axis=0)
            rubric = rubric - rubric.mean(axis=0)
        if self.center == "zero":  # on paper it is 0 already
            intercept = jnp.zeros_like(intercept)
        return jnp.concatenate([judge, rubric, intercept])

    def _means(self, dtype: jnp.dtype) -> jax.Array:
        """(R,) weights that take the mean judge plus the mean item, of zero-sum facets."""
        judge, rubric = self.free_judge, self.free_rubric
        return jnp.concatenate(
            [
                jnp.full(judge.size, self.zero_sum_judge / judge.size, dtype),
                jnp.full(rubric.size, self.zero_sum_rubric / rubric.size, dtype),
            ]
        )
