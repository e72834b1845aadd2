"""The protocol of a method of several trainings, whose policies' parameters are averaged."""

from __future__ import annotations

from collections.abc import Sequence

from dignified_jax.objectives.base import Method, Stage
from dignified_jax.objectives.multi_negative import MultiNegativeDPO


class MultiStage(Method):
    """A method whose policy is the weighted mean of the parameters of its stages' policies."""

    def stages(self, dimensions: Sequence[str]) -> tuple[Stage, ...]:
        """Returns the stages in order.

        Raises:
          ValueError: hyperparameters do not fit the dimensions.
        """
        raise NotImplementedError

    def shares(self, dimensions: Sequence[str]) -> tuple[float, ...]:
        """Returns the weight of each stage's policy in the mean; they add up to 1."""
        raise NotImplementedError

    def check(self, dimensions: Sequence[str]) -> None:
        """Raises ValueError where hyperparameters do not fit the dimensions."""
        self.stages(dimensions)


def single_stages(
    weights: Sequence[float], dimensions: Sequence[str], **fields: float | bool
) -> tuple[Stage, ...]:
    """Returns a stage of DPO on each dimension of positive weight alone, named after it.

    Args:
      weights: one for each of the dimensions.
      dimensions: of the data.
      fields: other fields of the stages' `MultiNegativeDPO`.
    """

    def single(name: str) -> MultiNegativeDPO:
        alone = tuple(float(dimension == name) for dimension in dimensions)
        return MultiNegativeDPO(weights=alone, **fields)

    return tuple(
        Stage(name, single(name))
        for name, weight in zip(dimensions, weights, strict=True)
        if weight > 0
    )
