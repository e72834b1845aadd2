"""Held-out evaluation: every example of a stream scored once, metrics over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.data import DIMENSIONS, BatchStream, PackedBatch
from dignified_jax.models.lora import LoraParams
from dignified_jax.objectives import Method
from dignified_jax.training.step import metrics
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.train_step import ScoreStep


def evaluate(
    score_step: ScoreStep,
    method: Method,
    state: TrainState,
    batches: Iterable[tuple[PackedBatch, Any, PackedBatch, np.int32, jax.Array | None]],
) -> dict[str, jax.Array]:
    """Loss and preference metrics over all examples, in the form of a train step's report.

    The loss is the method's, over everything as one batch and at the state's multipliers.

    Args:
      score_step: from `step.make_score_step`.
      method, state: the run's; the state's parameters as `score_step` takes them. With LoRA the
        reference is the base where none is given.
      batches: (batch on the host, reference as in `step.make_train_step`, batch on the devices,
        its non-empty accumulation steps, rewards).
    """
    parts = []
    frozen = state.params.base if isinstance(state.params, LoraParams) else None
    for host, reference, device, used, rewards in batches:
        policy = score_step(state.params, device, used)
        if reference is None and method.needs_reference:
            reference = frozen
        if reference is None:
            base = jnp.zeros_like(policy)
        elif isinstance(reference, jax.Array):
            base = reference
        else:
            base = score_step(reference, device, used)
        scored = jax.tree.map(np.asarray, (policy, base, rewards))
        parts.append((host.response_mask, host.response_length, *scored))
    whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return _report(method, state.method_state, *whole)


def metric_names(method: Method, stream: BatchStream) -> set[str]:
    """Names, without a prefix, of the metrics that `evaluate` finds for a stream."""
    host = [stream.batch(step) for step in range(stream.total_steps)]
    mask = jnp.concatenate([batch.response_mask for batch in host])
    length = jnp.concatenate([batch.response_length for batch in host])
    zeros = jnp.zeros(mask.shape)
    rewards = jnp.zeros((*mask.shape, len(DIMENSIONS))) if method.needs_rewards else None
    state = method.init(len(DIMENSIONS))
    return set(
        metrics.flatten(_report(method, state, mask, length, zeros, zeros, rewards), DIMENSIONS)
    )


def _report(
    method: Method,
    method_state: Any,
    mask: jax.Array,
    length: jax.Array,
    policy: jax.Array,
    base: jax.Array,
    rewards: jax.Array | None,
) -> dict[str, jax.Array]:
    normalizer = method.normalizer(mask, length)
    loss, losses = method.loss(policy - base, mask, normalizer, method_state, rewards)
    return {
        "loss": loss,
        metrics.PER_DIMENSION + "loss": losses,
        **metrics.preference(policy, base, mask, method),
    }
