"""Methods of several stages: what each stage optimises, and how its policies are joined."""

from __future__ import annotations

import dataclasses
import itertools

from dignified_jax.objectives import sacpo
from dignified_jax.objectives.checks import entries, positive, relative_weights
from dignified_jax.objectives.multi_negative import MultiNegativeDPO


@dataclasses.dataclass(frozen=True)
class SACPO:
    """DPO on one group of dimensions after another (`objectives.sacpo`).

    Attributes:
      beta: inverse temperature of the first stage.
      groups: letters of each stage's dimensions, in order; Peer before Dignity by default.
      multipliers: lambda_j of the stages after the first, whose beta is beta / lambda_j.
      last_share: None exports the last stage's policy; a number mixes its parameters, with this
        weight, with those of the stage before (P-SACPO).
    """

    beta: float = 0.1
    groups: tuple[str, ...] = ("EC", "AT")
    multipliers: tuple[float, ...] = (1.0,)
    last_share: float | None = None

    name = "sacpo"
    needs_reference = True
    needs_rewards = False

    def __post_init__(self) -> None:
        positive(self, "beta")
        if self.last_share is not None and not 0 < self.last_share < 1:
            raise ValueError(f"method.last_share must be in (0, 1), found {self.last_share}")
        if self.last_share is not None and len(self.groups) < 2:
            raise ValueError(f"method.last_share needs two stages, found {self.groups}")

    def stages(self, dimensions: tuple[str, ...]) -> tuple[sacpo.Stage, ...]:
        """The stages in order.

        Raises:
          ValueError: a letter that is not one of `dimensions`, and as `sacpo.plan`.
        """
        unknown = [letter for letter in itertools.chain(*self.groups) if letter not in dimensions]
        if unknown:
            raise ValueError(
                f"method.groups: expected letters of {''.join(dimensions)}, found {unknown}"
            )
        numbers = [[dimensions.index(letter) for letter in group] for group in self.groups]
        return sacpo.plan(numbers, len(dimensions), beta=self.beta, multipliers=self.multipliers)


@dataclasses.dataclass(frozen=True)
class RewardedSoup:
    """The weighted mean of the parameters of policies trained on one dimension each.

    Attributes:
      beta: inverse temperature of their DPO.
      weights: relative weights of the policies, one for all or one for each (A, T, E, C); a
        dimension of weight 0 is not trained.
    """

    beta: float = 0.1
    weights: tuple[float, ...] = (1.0,)

    name = "soup"
    needs_reference = True
    needs_rewards = False

    def __post_init__(self) -> None:
        positive(self, "beta")
        relative_weights(self.weights)

    def coefficients(self, dimensions: int) -> tuple[float, ...]:
        """One for each dimension; they add up to 1.

        Raises:
          ValueError: weights has neither 1 nor K entries.
        """
        weights = entries("weights", self.weights, dimensions)
        return tuple(weight / sum(weights) for weight in weights)


def single(beta: float, index: int, dimensions: int) -> MultiNegativeDPO:
    """DPO on one dimension alone."""
    weights = tuple(float(number == index) for number in range(dimensions))
    return MultiNegativeDPO(beta=beta, weights=weights)


RECIPES: dict[str, type] = {cls.name: cls for cls in (SACPO, RewardedSoup)}
