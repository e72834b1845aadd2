"""Held-out evaluation: every example of a stream scored once, metrics over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data import PackedBatch
from dignified_jax.objectives import Method
from dignified_jax.training import metrics
from dignified_jax.training.state import TrainState
from dignified_jax.training.step import EvalStep


def evaluate(
    eval_step: EvalStep,
    method: Method,
    state: TrainState,
    reference: Any,
    batches: Iterable[tuple[PackedBatch, PackedBatch, np.int32]],
) -> dict[str, jax.Array]:
    """Loss and preference metrics over all examples, in the form of a train step's report.

    The loss is the method's, over everything as one batch and at the state's multipliers.

    Args:
      eval_step: from `step.make_eval_step`.
      method, state, reference: the run's.
      batches: (batch on the host, the same on the devices, its non-empty accumulation steps).
    """
    parts = []
    for host, device, used in batches:
        scored = eval_step(state.params, reference, device, used)
        parts.append((*map(np.asarray, scored), host.response_mask, host.response_length))
    policy, base, mask, length = (jnp.concatenate(column) for column in zip(*parts, strict=True))
    normalizer = method.normalizer(mask, length)
    loss, losses = method.loss(policy - base, mask, normalizer, state.method_state)
    return {
        "loss": loss,
        metrics.PER_DIMENSION + "loss": losses,
        **metrics.preference(policy, base, mask, method),
    }
