"""Rewarded soup: a weighted sum of policies' parameters.

    theta = sum_k c_k theta_k        c_k >= 0, sum_k c_k = 1

of policies trained on one dimension each from the same initial model (Rame et al., "Rewarded
soups", 2023), or of the stages of P-SACPO.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from dignified_jax.objectives import terms
from dignified_jax.objectives.base import Stage, register
from dignified_jax.objectives.checks import entries, relative_weights
from dignified_jax.objectives.multi_stage import MultiStage, single_stages
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import NonNegative, Positive

_SUM_TOLERANCE = 1e-6


@register
@dataclasses.dataclass(frozen=True)
class RewardedSoup(Terms, MultiStage):
    """The weighted mean of the parameters of policies trained on one dimension each.

    Attributes:
      beta: inverse temperature of their DPO.
      weights: relative weights of the policies, one for all or one for each (A, T, E, C); a
        dimension of weight 0 is not trained.
    """

    beta: Positive = 0.1
    weights: tuple[NonNegative, ...] = (1.0,)

    name = "soup"

    def __post_init__(self) -> None:
        super().__post_init__()
        relative_weights(self.weights)

    def stages(self, dimensions: Sequence[str]) -> tuple[Stage, ...]:
        """Returns DPO on each dimension of positive weight.

        Raises:
          ValueError: weights has neither 1 nor K entries.
        """
        weights = entries("weights", self.weights, len(dimensions))
        return single_stages(weights, dimensions, beta=self.beta, **terms.of(self))

    def shares(self, dimensions: Sequence[str]) -> tuple[float, ...]:
        """Returns the positive weights, divided by their sum."""
        weights = entries("weights", self.weights, len(dimensions))
        return tuple(weight / sum(weights) for weight in weights if weight > 0)


def combine(trees: Sequence[PyTree], coefficients: Sequence[float]) -> PyTree:
    """The convex combination of parameter trees, computed in float32 and kept in their dtype.

    Args:
      trees: parameter trees of equal structure, shapes and floating dtypes.
      coefficients: one for each tree.

    Raises:
      ValueError: the coefficients are not one for each tree, negative, not finite or do not add
        up to 1; or the trees differ (the first path that does is named).
    """
    numbers = tuple(coefficients)
    convex = all(0 <= c < math.inf for c in numbers)
    if len(numbers) != len(trees) or not convex or abs(sum(numbers) - 1.0) > _SUM_TOLERANCE:
        raise ValueError(
            f"coefficients: expected {len(trees)} numbers of at least 0 that add up to 1, "
            f"found {numbers}"
        )
    _check_alike(trees)

    def total(*leaves: jax.Array) -> jax.Array:
        parts = (c * leaf.astype(jnp.float32) for c, leaf in zip(numbers, leaves, strict=True))
        return sum(parts).astype(leaves[0].dtype)

    return jax.tree.map(total, *trees)


def _check_alike(trees: Sequence[PyTree]) -> None:
    first, *others = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(t)}
        for t in trees
    )
    for path, leaf in first.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"trees[0]{path}: expected a floating dtype, found {leaf.dtype}")
    for number, other in enumerate(others, 1):
        for path in sorted(first.keys() | other.keys()):
            shapes = [
                (tree[path].shape, str(tree[path].dtype)) if path in tree else "nothing"
                for tree in (first, other)
            ]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"trees[{number}]{path}: expected {shapes[0]} as in the first tree, "
                    f"found {shapes[1]}"
                )
