"""SACPO: aligning with one dimension, or group of dimensions, after another.

Stage 1 is DPO on the first group with beta_1; stage j is DPO on the j-th with
beta_j = beta_1 / lambda_j, started from and compared with the policy of stage j - 1. With exact
optimisation the last policy is proportional to pi_ref exp((r_1 + sum_j lambda_j r_j) / beta_1),
whatever the order. Wachi et al., "Stepwise Alignment for Constrained Language Model Policy
Optimization" (2024). P-SACPO averages the parameters of the last two stages.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Annotated

from dignified_jax.objectives import terms
from dignified_jax.objectives.base import Stage, register
from dignified_jax.objectives.multi_negative import MultiNegativeDPO
from dignified_jax.objectives.multi_stage import MultiStage
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import Bounds, Positive


@register
@dataclasses.dataclass(frozen=True)
class SACPO(Terms, MultiStage):
    """DPO on one group of dimensions after another, every stage with the same shared terms.

    Attributes:
      beta: inverse temperature of the first stage.
      groups: for each stage in order a group of data.groups, a dimension, dimensions joined by "+",
        or dimensions of one letter in a row; Peer before Dignity by default.
      multipliers: lambda_j of the stages after the first, whose beta is beta / lambda_j; one for
        all or one for each.
      last_share: None exports the last stage's policy; a number mixes its parameters, with this
        weight, with those of the stage before (P-SACPO).
    """

    beta: Positive = 0.1
    groups: tuple[str, ...] = ("EC", "AT")
    multipliers: tuple[Positive, ...] = (1.0,)
    last_share: Annotated[float, Bounds("(0, 1)")] | None = None

    name = "sacpo"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.groups or not all(self.groups):
            raise ValueError(f"method.groups: expected non-empty groups, found {self.groups}")
        later = len(self.groups) - 1
        if len(self.multipliers) not in (1, later):
            raise ValueError(
                f"method.multipliers: expected 1 or {later} positive numbers, "
                f"found {self.multipliers}"
            )
        if self.last_share is not None and later < 1:
            raise ValueError(f"method.last_share needs two stages, found {self.groups}")

    def resolved(self, find: Callable[[str], tuple[str, ...]], dimensions: Sequence[str]) -> SACPO:
        """Returns the method with the dimensions of named groups in place of their names."""

        def resolve(group: str) -> str:
            if set(_members(group, dimensions)) <= set(dimensions):
                return group
            try:
                return "+".join(find(group))
            except ValueError:
                return group  # `stages` says what is wrong with it

        return dataclasses.replace(self, groups=tuple(map(resolve, self.groups)))

    def stages(self, dimensions: Sequence[str]) -> tuple[Stage, ...]:
        """Returns the stages in order.

        Raises:
          ValueError: a name that is not one of `dimensions`, or a dimension in two groups.
        """
        members = [_members(group, dimensions) for group in self.groups]
        named = list(itertools.chain(*members))
        unknown = [name for name in named if name not in dimensions]
        if unknown:
            short = all(len(dimension) == 1 for dimension in dimensions)
            known = f"letters of {''.join(dimensions)}" if short else f"names of {dimensions}"
            raise ValueError(f"method.groups: expected {known}, found {unknown}")
        if len(set(named)) < len(named):
            raise ValueError(
                f"method.groups: expected non-empty groups without repetition, found {self.groups}"
            )
        later = len(self.groups) - 1
        multipliers = self.multipliers * (later if len(self.multipliers) == 1 else 1)
        return tuple(
            Stage(
                name=f"{number + 1}_{group}",
                objective=MultiNegativeDPO(
                    beta=self.beta / multiplier,
                    weights=tuple(float(dimension in names) for dimension in dimensions),
                    **terms.of(self),
                ),
                start=number - 1 if number else None,
            )
            for number, (group, names, multiplier) in enumerate(
                zip(self.groups, members, (1.0, *multipliers), strict=False)
            )
        )

    def shares(self, dimensions: Sequence[str]) -> tuple[float, ...]:
        """Returns 1 for the last stage, or the two shares of P-SACPO; 0 for the others."""
        del dimensions
        before = (0.0,) * (len(self.groups) - 1)
        if self.last_share is None:
            return (*before, 1.0)
        return (*before[1:], 1.0 - self.last_share, self.last_share)


def _members(group: str, dimensions: Sequence[str]) -> tuple[str, ...]:
    """The names in a group: the whole, parts between "+", or letters where dimensions are such."""
    if group in tuple(dimensions):  # a text would find parts of itself
        return (group,)
    short = any(len(dimension) == 1 for dimension in dimensions)
    parts = group.split("+") if "+" in group or not short else group
    return tuple(part.strip() for part in parts)
