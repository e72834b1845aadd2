"""Held-out evaluation: every example of a stream scored once, metrics over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from dignified_jax.data import BatchStream, PackedBatch
from dignified_jax.objectives import Objective, ScoredBatch, golden
from dignified_jax.training.step import metrics
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import ScoreStep


def evaluate(
    score_step: ScoreStep,
    objective: Objective,
    state: TrainState,
    batches: Iterable[tuple[PackedBatch, StepInputs]],
) -> dict[str, jax.Array]:
    """Returns loss and preference metrics over all examples, in the form of a train step's report.

    The loss is the objective's, over everything as one batch and at the state's multipliers.

    Args:
      score_step: from `train_step.make_score_step`.
      objective, state: the run's; the state's parameters as `score_step` takes them.
      batches: each on the host, and on the devices.
    """
    scored, references = [], []
    for host, inputs in batches:
        on_devices = inputs.batch, inputs.num_accumulation_steps
        policy = score_step(state.params, *on_devices)
        if isinstance(inputs.reference, CachedReference):
            reference = inputs.reference.log_probs
        elif inputs.reference_params is None:
            reference = jnp.zeros_like(policy)
        else:
            reference = score_step(inputs.reference_params, *on_devices)
        policy, reference, rewards = jax.tree.map(np.asarray, (policy, reference, inputs.rewards))
        references.append(reference)
        scored.append(
            ScoredBatch(policy, host.response_mask, host.response_length, rewards=rewards)
        )
    policy, reference = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves), *zip(scored, references, strict=True)
    )
    return _report(objective, state.method_state, policy, reference)


def metric_names(objective: Objective, stream: BatchStream, dimensions: Sequence[str]) -> set[str]:
    """Returns the names, without a prefix, of the metrics that `evaluate` finds for a stream."""
    host = [stream.batch(step) for step in range(stream.total_steps)]
    mask = jnp.concatenate([batch.response_mask for batch in host])
    length = jnp.concatenate([batch.response_length for batch in host])
    zeros = jnp.zeros(mask.shape)
    rewards = jnp.zeros((*mask.shape, len(dimensions))) if objective.needs_rewards else None
    state = objective.init(len(dimensions))
    report = _report(objective, state, ScoredBatch(zeros, mask, length, rewards), zeros)
    return set(metrics.flatten(report, dimensions))


def _report(
    objective: Objective,
    method_state: PyTree,
    policy: ScoredBatch,
    reference: Float[Array, "example response"],
) -> dict[str, jax.Array]:
    """From the policy's log-probs, in place of log-ratios, and the reference's."""
    counts = objective.batch_counts(policy.mask, policy.lengths)
    scored = policy.replace(log_ratios=policy.log_ratios - reference)
    loss, losses = objective.loss(scored, counts, method_state)
    preference = metrics.preference(policy.log_ratios, reference, policy.mask, objective)
    return {
        "loss": golden.add(loss, objective, policy.log_ratios, policy.mask, policy.lengths),
        metrics.PER_DIMENSION + "loss": losses,
        **preference,
        **metrics.of_golden(preference, policy.mask, policy.lengths, objective),
    }
