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


def single(beta: float, index: int, dimensions: int) -> MultiNegativeDPO:
    """Returns DPO on one dimension alone."""
    weights = tuple(float(number == index) for number in range(dimensions))
    return MultiNegativeDPO(beta=beta, weights=weights)


def single_stages(
    beta: float, weights: Sequence[float], dimensions: Sequence[str]
) -> tuple[Stage, ...]:
    """Returns a stage of DPO for each dimension of positive weight, named after it."""
    return tuple(
        Stage(name, single(beta, index, len(dimensions)))
        for index, (name, weight) in enumerate(zip(dimensions, weights, strict=True))
        if weight > 0
    )
