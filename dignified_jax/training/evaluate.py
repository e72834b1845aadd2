"""Held-out evaluation: every example of a stream scored once, metrics over all of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dignified_jax.data import BatchStream
from dignified_jax.objectives import Method
from dignified_jax.training import metrics
from dignified_jax.training.setup import accumulation_steps
from dignified_jax.training.sharding import put_batch
from dignified_jax.training.state import TrainState
from dignified_jax.training.step import EvalStep


def evaluate(
    eval_step: EvalStep,
    method: Method,
    state: TrainState,
    reference: Any,
    stream: BatchStream,
    mesh: Mesh,
    rows_per_step: int,
) -> dict[str, jax.Array]:
    """Loss and preference metrics over all examples of `stream`, in the form of a step's report.

    The loss is the method's, over the whole split as one batch and at the state's multipliers.
    """
    parts = []
    for step in range(stream.total_steps):
        batch = stream.batch(step)
        scored = eval_step(
            state.params,
            reference,
            put_batch(batch, mesh, rows_per_step),
            accumulation_steps(stream, step, rows_per_step),
        )
        parts.append((*map(np.asarray, scored), batch.response_mask, batch.response_length))
    policy, base, mask, length = (jnp.concatenate(column) for column in zip(*parts, strict=True))
    normalizer = method.normalizer(mask, length)
    loss, losses = method.loss(policy - base, mask, normalizer, state.method_state)
    return {
        "loss": loss,
        metrics.PER_DIMENSION + "loss": losses,
        **metrics.preference(policy, base, mask, method),
    }
