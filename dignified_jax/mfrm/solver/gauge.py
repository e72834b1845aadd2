"""Which coordinates a fit moves, and the changes of variable between two gauges.

Judges, rubric items and questions sum to zero. Steps are solved in another gauge, where the
best-informed judge, item and question are held at 0 and their share is in the intercepts: there a
level with little information stands in a row of its own, while a zero-sum basis would mix it with
well-informed ones and lose it to rounding in float32. Logits are the same in both. (With center
"zero" there is no intercept to take the questions' share: they keep their constraint.)

Three judges with effects (0.6, 0, -0.3), the second held, and an intercept of 1 have the logits
1.6, 1 and 0.7. The mean effect, 0.1, moves to the intercept: (0.5, -0.1, -0.4) and 1.1 give the
same logits and sum to zero.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax

from dignified_jax.mfrm import arrays as xp

Center = Literal["model", "grand", "zero"]
CENTERS: tuple[Center, ...] = ("model", "grand", "zero")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Design:
    """Free levels, constraints and intercepts of a fit.

    The border of the system is (judge, rubric, step, intercept), of length P = R + M with
    R = J + I + T. Steps are those of ordinal models; T = 0 for binary ratings.

    Attributes:
      free_judge: (J,) bool, False where anchored.
      free_rubric: (I,) bool.
      free_question: (Q,) bool.
      free_model: (M,) bool, False where an intercept has no finite estimate.
      center: "model": an intercept each; "grand": one for all; "zero": none.
      zero_sum_judge: whether judges sum to zero (not anchored).
      zero_sum_rubric: likewise.
      zero_sum_question: likewise. Random questions are centred when all is estimated.
      counted_judge: (J,) bool, the levels that sum to zero; False for those taken out as extreme.
      counted_rubric: (I,) bool.
      step_counts: (scales,) numbers of steps of each set, the others are not there; None for all.
      scales: number of sets of steps, each of which sums to zero.
      steps: number of steps of a set.
      random_question: whether questions are a random effect, free of the constraint.
    """

    free_judge: jax.Array
    free_rubric: jax.Array
    free_question: jax.Array
    free_model: jax.Array
    counted_judge: jax.Array
    counted_rubric: jax.Array
    step_counts: jax.Array | None
    center: Center = dataclasses.field(metadata={"static": True})
    zero_sum_judge: bool = dataclasses.field(metadata={"static": True})
    zero_sum_rubric: bool = dataclasses.field(metadata={"static": True})
    zero_sum_question: bool = dataclasses.field(metadata={"static": True})
    scales: int = dataclasses.field(default=0, metadata={"static": True})
    steps: int = dataclasses.field(default=0, metadata={"static": True})
    random_question: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def judges(self) -> int:
        """J."""
        return self.free_judge.size

    @property
    def mains(self) -> int:
        """J + I."""
        return self.free_judge.size + self.free_rubric.size

    @property
    def raters(self) -> int:
        """R = J + I + T."""
        return self.mains + self.scales * self.steps

    @property
    def constrained_question(self) -> bool:
        """True if the solve knows that questions sum to zero."""
        return self.zero_sum_question and not self.random_question

    @property
    def reference_question(self) -> bool:
        """True if a question is held at 0 in the gauge of the solve."""
        return self.constrained_question and self.center != "zero"

    def spread(self, dtype: xp.dtype) -> jax.Array:
        """(P, F) from free coordinates to the border: F = R + (M, 1 or 0) intercepts."""
        models = self.free_model.size
        intercepts = {
            "model": xp.eye(models, dtype=dtype),
            "grand": xp.ones((models, 1), dtype),
            "zero": xp.zeros((models, 0), dtype),
        }[self.center]
        # Without an intercept of its own the model can't take a shift of the judges: moving them
        # by d moves the intercepts by -mean(d), which `to_zero_sum` then brings back to 0.
        shift = xp.zeros(self.raters, dtype)
        if self.center == "zero":
            shift = xp.put(shift, slice(self.mains), -self._means(dtype))
        raters = xp.eye(self.raters, dtype=dtype)
        if self.scales:
            # Steps have no other gauge: the last of each set answers for the others.
            last = xp.arange(self.steps) == self._last_step()[:, None]
            sets = xp.eye(self.steps, dtype=dtype) - last[:, :, None].astype(dtype)
            sets = xp.einsum("stv,su->stuv", sets, xp.eye(self.scales, dtype=dtype))
            size = self.scales * self.steps
            raters = xp.put(raters, (slice(self.mains, None),) * 2, sets.reshape(size, size))
        return xp.block(
            [
                [
                    raters,
                    xp.zeros_like(intercepts, shape=(self.raters, intercepts.shape[1])),
                ],
                [xp.tile(shift, (models, 1)), intercepts],
            ]
        )

    def moving(self, information: jax.Array) -> jax.Array:
        """(F,) bool: the free coordinates less a reference level of each zero-sum facet.

        Args:
          information: (R,) of judges and items, the largest of which become the references.
        """
        judge, rubric = self.free_judge, self.free_rubric
        if self.zero_sum_judge:
            best = xp.argmax(information[: self.judges])
            judge = judge & (xp.arange(judge.size) != best)
        if self.zero_sum_rubric:
            best = xp.argmax(information[self.judges : self.mains])
            rubric = rubric & (xp.arange(rubric.size) != best)
        intercepts = {
            "model": self.free_model,
            "grand": self.free_model.any(keepdims=True),
            "zero": self.free_model[:0],
        }[self.center]
        steps = xp.arange(self.steps) < self._last_step()[:, None]
        return xp.concatenate([judge, rubric, steps.ravel(), intercepts])

    def to_zero_sum(self, border: jax.Array) -> jax.Array:
        """(P, ...) border coordinates of any gauge to those where facets sum to zero."""
        judge, rubric = border[: self.judges], border[self.judges : self.mains]
        intercept = border[self.raters :]
        if self.zero_sum_judge:
            judge, mean = _centred(judge, self.counted_judge)
            intercept = intercept + mean
        if self.zero_sum_rubric:
            rubric, mean = _centred(rubric, self.counted_rubric)
            intercept = intercept + mean
        if self.center == "zero":  # on paper it is 0 already
            intercept = xp.zeros_like(intercept)
        return xp.concatenate([judge, rubric, border[self.mains : self.raters], intercept])

    def _last_step(self) -> jax.Array:
        """(scales,) position of the last step of each set."""
        if self.step_counts is None:
            return xp.full(self.scales, self.steps - 1)
        return self.step_counts - 1

    def _means(self, dtype: xp.dtype) -> jax.Array:
        """(J + I,) weights that take the mean judge plus the mean item, of zero-sum facets."""
        judge = self.counted_judge * self.zero_sum_judge / self.counted_judge.sum()
        rubric = self.counted_rubric * self.zero_sum_rubric / self.counted_rubric.sum()
        return xp.concatenate([judge, rubric]).astype(dtype)


def _centred(values: jax.Array, counted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(L, ...) values less the mean of the counted levels, the others as they are; that mean."""
    counted = counted.reshape(-1, *[1] * (values.ndim - 1))
    mean = xp.where(counted, values, 0.0).sum(axis=0) / xp.maximum(counted.sum(), 1)
    return xp.where(counted, values - mean, values), mean
