"""The train step: packed rows to log-ratios, objective, gradients, primal and dual update.

The step does not know which objective it runs. The objective's state is updated once, from the
whole batch's per-dimension losses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from dignified_jax.data import PackedBatch
from dignified_jax.models import divergence, partition
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams
from dignified_jax.objectives import Objective, ScoredBatch, dpo, golden
from dignified_jax.training.step import gradients, local, metrics, sharding
from dignified_jax.training.step.state import TrainState, state_shardings
from dignified_jax.training.step.step_inputs import StepInputs

TrainStep = Callable[[TrainState, StepInputs], tuple[TrainState, dict[str, jax.Array]]]
ScoreStep = Callable[
    [PyTree, PackedBatch, Int[Array, ""]],
    Float[Array, "example response"],
]


# Runs of one process (stages, seeds of a comparison) that step alike share the traced function.
@functools.lru_cache(maxsize=4)
def make_train_step(
    model: Decoder,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    balance: float = 0.0,
) -> TrainStep:
    """Builds the jitted step `(state, inputs) -> (state, metrics)`; `state` is donated.

    When the loss or the gradient is not finite, `metrics["finite"]` is False and the state comes
    back as it was; `metrics["log_probs"]` (example, 1 + K) then shows where it began.
    `balance` is the weight in the gradient of the experts' balance loss, see `gradients.compute`;
    `metrics["loss"]` is the objective's alone.
    """

    replicated = NamedSharding(mesh, PartitionSpec())

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(
        state: TrainState, inputs: StepInputs
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        found = gradients.compute(model, objective, mesh, state, inputs, balance)
        batch, method_state = inputs.batch, state.method_state
        counts = objective.batch_counts(batch.response_mask, batch.response_length)
        scored = ScoredBatch(
            log_ratios=found.log_probs - found.reference_log_probs,
            mask=batch.response_mask,
            lengths=batch.response_length,
            rewards=inputs.rewards,
        )
        loss, losses = objective.loss(scored, counts, method_state)
        loss = golden.add(
            loss, objective, found.log_probs, batch.response_mask, batch.response_length
        )
        norm = optax.tree.norm(found.gradients)
        updates, opt_state = optimizer.update(found.gradients, state.opt_state, state.params)
        present = dpo.pair_counts(batch.response_mask) > 0
        stepped = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            method_state=objective.update(method_state, losses, present, scored),
        )
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        stepped = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, state)
        stepped = jax.lax.with_sharding_constraint(stepped, state_shardings(state, optimizer, mesh))
        report = {
            "loss": loss,
            "grad_norm": norm,
            "finite": finite,
            "log_probs": found.log_probs,
            metrics.PER_DIMENSION + "loss": losses,
            **metrics.preference(
                found.log_probs, found.reference_log_probs, batch.response_mask, objective
            ),
            **metrics.experts(found.load),
            **{
                metrics.PER_DIMENSION + name: value
                for name, value in objective.metrics(stepped.method_state).items()
            },
        }
        return stepped, jax.lax.with_sharding_constraint(report, replicated)

    return train_step


@functools.lru_cache(maxsize=4)
def make_score_step(model: Decoder, mesh: Mesh) -> ScoreStep:
    """Builds the jitted `(params, batch, num_accumulation_steps) -> log-probs of responses`.

    `params` is a whole parameter tree, or `LoraParams`; the log-probs are (example, 1 + K) float32.
    """
    return _make_sum_step(mesh, lambda params, rows: local.log_probs(model, params, rows, mesh))


def make_kl_step(model: Decoder, mesh: Mesh) -> ScoreStep:
    """Builds the jitted `((policy, reference), batch, num_accumulation_steps) -> divergence`.

    Token-level KL(policy || reference) in nats, summed over the tokens of each response,
    (example, 1 + K) float32.
    """

    def kl(
        params: tuple[Params | LoraParams, Params], rows: PackedBatch
    ) -> Float[Array, "example response"]:
        (module, policy), (_, reference) = (local.decoder(model, tree, mesh) for tree in params)
        return divergence.response_kl(module, policy, reference, rows)

    return _make_sum_step(mesh, kl)


def _make_sum_step(mesh: Mesh, of_rows: Callable[[PyTree, PackedBatch], jax.Array]) -> ScoreStep:
    """The jitted sum over a batch's rows of `of_rows(params, rows)`, (example, 1 + K)."""

    @jax.jit
    def sum_step(
        params: PyTree, batch: PackedBatch, num_accumulation_steps: Int[Array, ""]
    ) -> Float[Array, "example response"]:
        def device(
            params: PyTree, batch: PackedBatch, num_accumulation_steps: jax.Array
        ) -> Float[Array, "example response"]:
            def body(index: jax.Array, sums: jax.Array) -> jax.Array:
                return sums + of_rows(params, local.rows_of(batch, index))

            zeros = jnp.zeros(batch.response_mask.shape, jnp.float32)
            sums = jax.lax.fori_loop(0, num_accumulation_steps, body, zeros)
            return jax.lax.psum(sums, partition.BATCH_AXES)

        specs = (partition.param_specs(params, mesh), sharding.batch_spec(batch), PartitionSpec())
        return local.shard_map(device, mesh, specs, PartitionSpec())(
            params, batch, num_accumulation_steps
        )

    return sum_step
