"""SACPO: aligning with one dimension, or group of dimensions, after another.

Stage 1 is DPO on the first group with beta_1; stage j is DPO on the j-th with
beta_j = beta_1 / lambda_j, started from and compared with the policy of stage j - 1. With exact
optimisation the last policy is proportional to pi_ref exp((r_1 + sum_j lambda_j r_j) / beta_1),
whatever the order. Wachi et al., "Stepwise Alignment for Constrained Language Model Policy
Optimization" (2024). P-SACPO interpolates the stages' parameters: `soup.combine`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from dignified_jax.objectives.multi_negative import MultiNegativeDPO


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
      method: DPO on the stage's dimensions.
      reference: number (from 0) of the stage whose policy this one starts from and is compared
        with; None for the initial model.
    """

    method: MultiNegativeDPO
    reference: int | None


def plan(
    groups: Sequence[Sequence[int]],
    dimensions: int,
    *,
    beta: float = 0.1,
    multipliers: Sequence[float] = (1.0,),
) -> tuple[Stage, ...]:
    """The stages in order.

    Args:
      groups: the dimensions' numbers of each stage; a dimension stands in at most one.
      dimensions: K.
      beta: beta_1.
      multipliers: lambda_j of the stages after the first, positive; one for all or one for each.

    Raises:
      ValueError: no group, an empty one, an unknown or repeated dimension, or a number of
        multipliers other than 1 or that of the later stages.
    """
    named = [number for group in groups for number in group]
    if not groups or not all(groups) or len(set(named)) < len(named):
        raise ValueError(f"groups: expected non-empty groups without repetition, found {groups}")
    if not set(named) <= set(range(dimensions)):
        raise ValueError(f"groups: expected numbers from 0 to {dimensions - 1}, found {groups}")
    later = len(groups) - 1
    if len(multipliers) not in (1, later) or not all(0 < m < math.inf for m in multipliers):
        raise ValueError(
            f"multipliers: expected 1 or {later} positive numbers, found {tuple(multipliers)}"
        )
    given = tuple(multipliers)
    of_stage = (1.0, *(given if len(given) == later else given * later))
    return tuple(
        Stage(
            method=MultiNegativeDPO(
                beta=beta / multiplier,
                weights=tuple(float(k in group) for k in range(dimensions)),
            ),
            reference=number - 1 if number else None,
        )
        for number, (group, multiplier) in enumerate(zip(groups, of_stage, strict=True))
    )
