"""Preference objectives: arrays in, arrays out, one file each, all of one shape."""

from __future__ import annotations

from typing import Any, Protocol

import jax

from dignified_jax.objectives.lagdpo import LagDPO
from dignified_jax.objectives.modpo import MODPO
from dignified_jax.objectives.multi_negative import MultiNegativeDPO
from dignified_jax.objectives.pcgrad import PCGradDPO
from dignified_jax.objectives.safe_rlhf import SafeRLHF
from dignified_jax.objectives.sft import SFT

MethodState = Any


class Method(Protocol):
    """What the train step asks of an objective. K is the number of dimensions.

    `loss` is additive: given the parts of a batch (a device's rows, one accumulation step) with
    the same `normalizer`, its results add up to those of the whole batch.

    Attributes:
      needs_reference: scores are log-ratios to a frozen reference, not log-probs.
      needs_rewards: `loss` takes the frozen rewards of other policies (MODPO).
      combines_gradients: the gradient is not that of the scalar: the K gradients of the losses
        over the whole global batch go through `combine(gradients, state)` (PCGrad).
    """

    name: str
    needs_reference: bool
    needs_rewards: bool
    combines_gradients: bool

    def init(self, dimensions: int) -> MethodState:
        """The state before the first step (multipliers, averages) for K dimensions."""
        ...

    def normalizer(self, response_mask: jax.Array, response_length: jax.Array) -> Any:
        """Counts of the whole batch, from (example, 1 + K) mask and token lengths."""
        ...

    def loss(
        self,
        scores: jax.Array,
        response_mask: jax.Array,
        normalizer: Any,
        state: MethodState,
        rewards: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """(scalar to minimise, (K,) losses).

        `scores` is (example, 1 + K): log-ratios policy - reference where `needs_reference`, else
        the policy's log-probs. `response_mask` may cover a part of the batch. `rewards` is
        (example, 1 + K, K) where `needs_rewards`, else None.
        """
        ...

    def update(
        self,
        state: MethodState,
        losses: jax.Array,
        present: jax.Array,
        scores: jax.Array | None = None,
        response_mask: jax.Array | None = None,
    ) -> MethodState:
        """The next state, from the whole batch's losses; `present` (K,) bool.

        `scores` and `response_mask` are the whole batch's, as for `loss`: objectives that
        remember single examples need them (SafeRLHF).
        """
        ...

    def metrics(self, state: MethodState) -> dict[str, jax.Array]:
        """Name -> (K,) values to log per dimension."""
        ...


METHODS: dict[str, type] = {
    cls.name: cls for cls in (LagDPO, MultiNegativeDPO, PCGradDPO, SafeRLHF, MODPO, SFT)
}
"""By name."""

__all__ = [
    "METHODS",
    "MODPO",
    "SFT",
    "LagDPO",
    "Method",
    "MethodState",
    "MultiNegativeDPO",
    "PCGradDPO",
    "SafeRLHF",
]
