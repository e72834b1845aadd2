"""Preference objectives: arrays in, arrays out, one file each, all of one shape."""

from __future__ import annotations

from typing import Any, Protocol

import jax

from dignified_jax.objectives.lagdpo import LagDPO
from dignified_jax.objectives.multi_negative import MultiNegativeDPO
from dignified_jax.objectives.sft import SFT

MethodState = Any


class Method(Protocol):
    """What the train step asks of an objective. K is the number of dimensions.

    `loss` is additive: given the parts of a batch (a device's rows, one accumulation step) with
    the same `normalizer`, its results add up to those of the whole batch.
    """

    name: str
    needs_reference: bool

    def init(self, dimensions: int) -> MethodState:
        """The state before the first step (multipliers, averages) for K dimensions."""
        ...

    def normalizer(self, response_mask: jax.Array, response_length: jax.Array) -> Any:
        """Counts of the whole batch, from (example, 1 + K) mask and token lengths."""
        ...

    def loss(
        self, scores: jax.Array, response_mask: jax.Array, normalizer: Any, state: MethodState
    ) -> tuple[jax.Array, jax.Array]:
        """(scalar to minimise, (K,) losses).

        `scores` is (example, 1 + K): log-ratios policy - reference where `needs_reference`, else
        the policy's log-probs. `response_mask` may cover a part of the batch.
        """
        ...

    def update(self, state: MethodState, losses: jax.Array, present: jax.Array) -> MethodState:
        """The next state, from the whole batch's losses; `present` (K,) bool."""
        ...

    def metrics(self, state: MethodState) -> dict[str, jax.Array]:
        """Name -> (K,) values to log per dimension."""
        ...


METHODS: dict[str, type] = {cls.name: cls for cls in (LagDPO, MultiNegativeDPO, SFT)}

__all__ = ["METHODS", "SFT", "LagDPO", "Method", "MethodState", "MultiNegativeDPO"]
