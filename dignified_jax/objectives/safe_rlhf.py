"""SafeRLHF in DPO form: one multiplier between a primary and a constrained group of dimensions.

    minimise (L_peer + lambda L_dignity) / (1 + lambda)        lambda = exp(nu), held constant
    nu <- min(nu + rate lambda (J - d), log lambda_max)

L_peer and L_dignity are the means of the groups' L_k; J is the mean constraint value over the
last examples that had one. The step on nu is gradient ascent of lambda (J - d) in log lambda, so
lambda stays positive and moves in proportion to itself.

Dai et al., "Safe RLHF" (2024), and its reference implementation, whose episode costs are here the
examples' constraint values. The window holds examples of finished steps: the multiplier of a step
does not depend on the batch that it weighs.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from dignified_jax.objectives import dpo
from dignified_jax.objectives.base import Objective, ScoredBatch, register
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import Bounds, NonNegative, Positive


class SafeRLHFState(struct.PyTreeNode):
    """State of the multiplier.

    Attributes:
      log_multiplier: () float32 nu.
      values: (window,) float32 constraint values, newest last; 0 where not `filled`.
      filled: (window,) bool.
    """

    log_multiplier: jax.Array
    values: jax.Array
    filled: jax.Array


@register
@dataclasses.dataclass(frozen=True)
class SafeRLHF(Terms, Objective):
    """DPO on a primary group of dimensions, with one multiplier for a constrained group.

    The defaults of rate, first and largest multiplier and window are those of the method's
    reference implementation.

    Attributes:
      beta: inverse temperature of the implicit reward.
      constrained: names of the dimensions or groups (data.groups) that are constrained, such as
        Dignity, the others being primary (Peer); or a truth value for each dimension in order (of
        A, T, E and C by default). Some are constrained and some are not.
      epsilon: threshold d of the mean constraint value, in nats.
      dual_learning_rate: rate of the ascent in log lambda.
      lambda_init: multiplier before the first step.
      lambda_max: upper bound of the multiplier.
      window: examples in J.
    """

    beta: Positive = 0.1
    constrained: tuple[bool | str, ...] = (True, True, False, False)
    epsilon: NonNegative = 0.5
    dual_learning_rate: NonNegative = 0.1
    lambda_init: Positive = 1.0
    lambda_max: Positive = 5.0
    window: Annotated[int, Bounds("[1, 1000000]")] = 128

    name = "safe_rlhf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lambda_init <= self.lambda_max:
            raise ValueError(
                f"method.lambda_init {self.lambda_init} exceeds method.lambda_max {self.lambda_max}"
            )
        kinds = {type(entry) for entry in self.constrained}
        if kinds != {str} and (kinds != {bool} or len(set(self.constrained)) != 2):
            raise ValueError(
                "method.constrained needs a True (constrained) and a False (primary), or names, "
                f"found {self.constrained}"
            )

    def resolved(
        self, find: Callable[[str], tuple[str, ...]], dimensions: Sequence[str]
    ) -> SafeRLHF:
        """Returns the method with a truth value for each dimension in place of names."""
        names = [entry for entry in self.constrained if isinstance(entry, str)]
        if not names:
            return self
        try:
            chosen = set(itertools.chain.from_iterable(map(find, names)))
        except ValueError as error:
            raise ValueError(f"method.constrained: {str(error).partition(': ')[2]}") from error
        entries = tuple(dimension in chosen for dimension in dimensions)
        return dataclasses.replace(self, constrained=entries)

    def init(self, dimensions: int) -> SafeRLHFState:
        """Raises ValueError when constrained does not have K entries."""
        if len(self.constrained) != dimensions or str in map(type, self.constrained):
            raise ValueError(
                f"method.constrained needs {dimensions} entries, one for each dimension, or names "
                f"of dimensions or groups; found {self.constrained}"
            )
        return SafeRLHFState(
            log_multiplier=jnp.log(jnp.float32(self.lambda_init)),
            values=jnp.zeros(self.window, jnp.float32),
            filled=jnp.zeros(self.window, bool),
        )

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: SafeRLHFState
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`."""
        losses = self.dimension_losses(batch, counts)
        constrained = jnp.asarray(self.constrained)
        primary = jnp.mean(losses, where=~constrained)
        dignity = jnp.mean(losses, where=constrained)
        multiplier = jax.lax.stop_gradient(jnp.exp(state.log_multiplier))
        return (primary + multiplier * dignity) / (1.0 + multiplier), losses

    def update(
        self,
        state: SafeRLHFState,
        losses: Float[Array, " dimension"],
        present: Bool[Array, " dimension"],
        batch: ScoredBatch,
    ) -> SafeRLHFState:
        """Returns the next state; unchanged by a batch without a constrained pair."""
        del losses, present
        values, has_value = self.constraint_values(batch)
        # A stable sort by "filled" moves the filled entries to the end and keeps their order.
        filled = jnp.concatenate([state.filled, has_value])
        newest = jnp.argsort(filled, stable=True)[-self.window :]
        values = jnp.concatenate([state.values, values])[newest]
        filled = filled[newest]
        cost = values.sum() / jnp.maximum(filled.sum(), 1)
        nu = state.log_multiplier
        moved = nu + self.dual_learning_rate * jnp.exp(nu) * (cost - self.epsilon)
        moved = jnp.minimum(moved, math.log(self.lambda_max))
        return SafeRLHFState(
            log_multiplier=jnp.where(has_value.any(), moved, nu), values=values, filled=filled
        )

    def constraint_values(
        self, batch: ScoredBatch
    ) -> tuple[Float[Array, " example"], Bool[Array, " example"]]:
        """Returns the mean loss of each example's constrained pairs, 0 without one; and if any."""
        pairs = dpo.pair_mask(batch.mask) & jnp.asarray(self.constrained)
        losses = self.pair_losses(batch)
        sums = jnp.where(pairs, losses, 0.0).sum(axis=1)
        counts = pairs.sum(axis=1)
        return sums / jnp.maximum(counts, 1), counts > 0

    def metrics(self, state: SafeRLHFState) -> dict[str, jax.Array]:
        """Returns lambda of the constrained dimensions; 0 for the primary ones, which have none."""
        multiplier = jnp.exp(state.log_multiplier)
        return {"lambda": jnp.where(jnp.asarray(self.constrained), multiplier, 0.0)}
