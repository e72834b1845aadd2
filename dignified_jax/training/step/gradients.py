"""Gradients of an objective over a whole batch, and the log-probs that they come from.

Gradients are accumulated in float32 over a number of accumulation steps that may differ from batch
to batch without recompiling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from dignified_jax.data import PackedBatch
from dignified_jax.models import logprobs, partition
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.lora import policy as lora_policy
from dignified_jax.objectives import Objective, ScoredBatch, golden
from dignified_jax.training.step import local, sharding
from dignified_jax.training.step.state import TrainState
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs


class Gradients(NamedTuple):
    """Result of a batch.

    Attributes:
      gradients: of the whole batch's loss, like the trained parameters.
      log_probs: of its responses under the policy; 0 where there is none.
      reference_log_probs: and under the reference; 0 without one.
      load: of the policy's experts in the whole batch; None without experts.
    """

    gradients: PyTree
    log_probs: Float[Array, "example response"]
    reference_log_probs: Float[Array, "example response"]
    load: ExpertLoad | None


def compute(
    model: Decoder,
    objective: Objective,
    mesh: Mesh,
    state: TrainState,
    inputs: StepInputs,
    balance: float = 0.0,
) -> Gradients:
    """Returns the gradient of the whole batch's loss, and both models' log-probs.

    Args:
      model, objective, mesh, state, inputs: of the step.
      balance: weight in the loss of `ExpertLoad.balance_loss`. It is computed from the rows that a
        device has at a time, and averaged over the batch's tokens.
    """

    def device(params: PyTree, method_state: PyTree, inputs: StepInputs) -> Gradients:
        batch = inputs.batch
        counts = objective.batch_counts(batch.response_mask, batch.response_length)
        tokens = None
        if balance:
            tokens = batch.segments[..., 3].sum(dtype=jnp.float32)
            tokens = jax.lax.psum(tokens, partition.BATCH_AXES)

        def rows_loss(
            params: PyTree, rows: PackedBatch, reference_log_probs: jax.Array
        ) -> tuple[jax.Array, tuple[jax.Array, ExpertLoad | None]]:
            # Responses that lie elsewhere have a constant log-ratio of 0 here: they shift this
            # part's loss, which nobody reads, and leave its gradient alone.
            policy = lora_policy(params, inputs.base)
            log_probs, load = local.log_probs_and_load(model, policy, rows, mesh, inputs.edits)
            scored = ScoredBatch(
                log_ratios=log_probs - reference_log_probs,
                mask=rows.response_mask,
                lengths=rows.response_length,
                rewards=inputs.rewards,
            )
            loss, losses = objective.loss(scored, counts, method_state)
            even = 0.0
            if balance and load is not None:
                even = balance * load.balance_loss() * load.tokens[0] / tokens
            whole = log_probs, batch.response_mask, batch.response_length
            if not objective.combines_gradients:
                loss = golden.add(loss, objective, *whole)
                return (loss + even if balance else loss), (log_probs, load)
            if tree_count(objective, losses.size, balance) > losses.size:
                beside = golden.add(jnp.float32(0.0), objective, *whole) + even
                losses = jnp.append(losses, beside)
            return losses, (log_probs, load)

        def accumulation_step(index: jax.Array | int) -> tuple[PyTree, Array, Array, PyTree]:
            rows = local.rows_of(batch, index)
            reference_log_probs = _reference_log_probs(model, inputs, rows, mesh)
            loss, vjp, (log_probs, load) = jax.vjp(
                lambda params: rows_loss(params, rows, reference_log_probs), params, has_aux=True
            )
            return _pull_back(loss, vjp), log_probs, reference_log_probs, load

        if batch.tokens.shape[0] == 1:  # no accumulator to hold beside the gradients
            sums = accumulation_step(0)
        else:
            zeros = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, jnp.float32),
                jax.eval_shape(accumulation_step, 0),
            )
            add = functools.partial(jax.tree.map, jnp.add)
            sums = jax.lax.fori_loop(
                0,
                inputs.num_accumulation_steps,
                lambda index, total: add(total, accumulation_step(index)),
                zeros,
            )
        gradients, *others = sums
        gradients = sharding.reduce_gradients(gradients)
        return Gradients(gradients, *jax.lax.psum(others, partition.BATCH_AXES))

    replicated = PartitionSpec()
    specs = partition.param_specs(state.params, mesh)
    dimensions = inputs.batch.response_mask.shape[1] - 1
    out = (
        [specs] * tree_count(objective, dimensions, balance)
        if objective.combines_gradients
        else specs
    )
    found = local.shard_map(
        device,
        mesh,
        (specs, replicated, _input_specs(inputs, mesh)),
        Gradients(out, replicated, replicated, replicated),
    )(state.params, state.method_state, inputs)
    if objective.combines_gradients:
        own, beside = found.gradients[:dimensions], found.gradients[dimensions:]
        combined = objective.combine(own, state.method_state)
        for gradient in beside:
            combined = jax.tree.map(jnp.add, combined, gradient)
        found = found._replace(gradients=combined)
    return found


def tree_count(objective: Objective, dimensions: int, balance: float = 0.0) -> int:
    """Returns how many gradients a step finds: one; to be combined, one of each dimension's loss,
    and one of the golden's NLL and the balance loss, which is added to the combined one."""
    if not objective.combines_gradients:
        return 1
    return dimensions + bool(objective.golden_nll or balance)


def _input_specs(inputs: StepInputs, mesh: Mesh) -> StepInputs:
    replicated = PartitionSpec()
    reference = jax.tree.map(lambda _: replicated, inputs.reference)
    if not isinstance(inputs.reference, CachedReference):
        reference = partition.param_specs(inputs.reference, mesh)
    return StepInputs(
        batch=sharding.batch_spec(inputs.batch),
        num_accumulation_steps=replicated,
        reference=reference,
        rewards=None if inputs.rewards is None else replicated,
        base=partition.param_specs(inputs.base, mesh),
        edits=jax.tree.map(lambda _: replicated, inputs.edits),
    )


def _pull_back(loss: jax.Array, vjp: Callable[[jax.Array], tuple[PyTree]]) -> PyTree:
    """Gradient of a scalar, or the list of gradients of the entries of a vector, one at a time."""
    if loss.ndim == 0:
        return vjp(jnp.ones_like(loss))[0]
    # Not vmapped: on CPUs jit(vmap(vjp)) of jax 0.10.2 is wrong from the second gradient on. Its
    # YNNPACK fusions compute (x[None] * c).sum(-1, keepdims=True) * c, as in RMSNorm's gradient,
    # wrongly beyond c[0]; XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= avoids them.
    return [vjp(one)[0] for one in jnp.eye(loss.size, dtype=loss.dtype)]


def _reference_log_probs(
    model: Decoder, inputs: StepInputs, rows: PackedBatch, mesh: Mesh
) -> Float[Array, "example response"]:
    """Log-probs under the reference, 0 for responses that are not in `rows`, and without one."""
    if isinstance(inputs.reference, CachedReference):
        tokens = logprobs.sum_by_response(jnp.ones(rows.target.size, jnp.int32), rows)
        return jnp.where(tokens > 0, inputs.reference.log_probs, 0.0)
    params = inputs.reference_params
    if params is None:
        return jnp.zeros(rows.response_mask.shape, jnp.float32)
    return local.log_probs(model, params, rows, mesh)
