"""Evaluates a run's policy on one of its splits."""

from __future__ import annotations

from collections.abc import Iterator

from dignified_jax.cluster import members
from dignified_jax.console.waiting import ShowCount
from dignified_jax.data import PackedBatch
from dignified_jax.training.run_context import RunContext
from dignified_jax.training.step import metrics
from dignified_jax.training.step.held_out import evaluate
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.step_inputs import StepInputs


def evaluate_split(
    context: RunContext, state: TrainState, split: str, prefix: str, count: ShowCount
) -> dict[str, float]:
    """Returns metrics over all examples of a split.

    Args:
      context: the run's.
      state: with the run's trained tree.
      split: name of the split.
      prefix: of the metrics' names.
      count: is told the batches done, and all batches.
    """
    state = state.replace(params=context.model.policy(state.params))
    batches = _counted(context, split, count)
    report = evaluate(context.score_step, context.objective, state, batches)
    return metrics.flatten(report, context.config.data.dimensions, prefix)


def _counted(
    context: RunContext, split: str, count: ShowCount
) -> Iterator[tuple[PackedBatch, StepInputs]]:
    """A split's batches; `count` is told how many have been used."""
    total = context.data.streams[split].total_steps
    for step in range(total):
        inputs = context.inputs(split, step)
        members.at(f"{split} batch {step + 1}", "step")
        yield inputs
        count(step + 1, total)
    members.at(f"after the {split} batches", "between")
