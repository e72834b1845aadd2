"""The train step: packed rows to log-ratios, objective, gradients, primal and dual update.

The step does not know which objective it runs. Gradients are accumulated in float32 over a
number of accumulation steps that may differ from batch to batch without recompiling; the dual
state is updated once, from the whole batch's per-dimension losses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dignified_jax.data import PackedBatch
from dignified_jax.models import divergence, logprobs, partition
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import LoraConfig, LoraParams
from dignified_jax.models.lora import policy as lora_policy
from dignified_jax.objectives import Method, dpo
from dignified_jax.training.step import metrics, sharding
from dignified_jax.training.step.state import TrainState, state_shardings

TrainStep = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
ScoreStep = Callable[[Any, PackedBatch, jax.Array], jax.Array]


# Runs of one process (stages, seeds of a comparison) that step alike share the traced function.
@functools.lru_cache(maxsize=4)
def make_train_step(
    model: Decoder, method: Method, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainStep:
    """Builds the jitted step `(state, reference, batch, used, rewards, base) -> (state, metrics)`.

    `state` is donated. `reference` holds the frozen reference's parameters, or the (example, 5)
    log-probs that it gives this batch, or None for methods without one. `batch` comes from
    `sharding.put_batch`; `used` () int32 is its number of non-empty accumulation steps.
    `rewards` (example, 5, K) are those of the batch, for methods that need them. `base` holds the
    frozen parameters under LoRA where the state's are LoRA's; where `reference` is None it is the
    reference too. When the loss or the gradient is not finite, `metrics["finite"]` is False and
    the state comes back as it was; `metrics["log_probs"]` (example, 5) then shows where it began.
    """

    whole = NamedSharding(mesh, PartitionSpec())

    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(
        state: TrainState,
        reference: Any,
        batch: PackedBatch,
        used: jax.Array,
        rewards: jax.Array | None = None,
        base: Any = None,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        gradients, policy_log_probs, reference_log_probs = _gradients(
            model, method, mesh, state, base, reference, batch, used, rewards
        )
        mask, method_state = batch.response_mask, state.method_state
        normalizer = method.normalizer(mask, batch.response_length)
        scores = policy_log_probs - reference_log_probs
        loss, losses = method.loss(scores, mask, normalizer, method_state, rewards)
        norm = optax.tree.norm(gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        present = dpo.pair_counts(mask) > 0
        stepped = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            method_state=method.update(method_state, losses, present, scores, mask),
        )
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        stepped = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, state)
        stepped = jax.lax.with_sharding_constraint(stepped, state_shardings(state, optimizer, mesh))
        report = {
            "loss": loss,
            "grad_norm": norm,
            "finite": finite,
            "log_probs": policy_log_probs,
            metrics.PER_DIMENSION + "loss": losses,
            **metrics.preference(
                policy_log_probs, reference_log_probs, batch.response_mask, method
            ),
            **{
                metrics.PER_DIMENSION + name: value
                for name, value in method.metrics(stepped.method_state).items()
            },
        }
        return stepped, jax.lax.with_sharding_constraint(report, whole)

    return train_step


@functools.lru_cache(maxsize=4)
def make_score_step(model: Decoder, mesh: Mesh) -> ScoreStep:
    """Builds the jitted `(params, batch, used) -> (example, 5)` float32 log-probs of responses.

    `params` is a whole parameter tree, or `LoraParams`.
    """
    return _make_sum_step(mesh, lambda params, rows: _log_probs(model, params, rows, mesh))


def make_kl_step(model: Decoder, mesh: Mesh) -> ScoreStep:
    """Builds the jitted `((policy, reference), batch, used) -> (example, 5)` float32.

    Token-level KL(policy || reference) in nats, summed over the tokens of each response.
    """

    def kl(params: tuple[Any, Any], rows: PackedBatch) -> jax.Array:
        (module, policy), (_, reference) = (_local(model, tree, mesh) for tree in params)
        return divergence.response_kl(module, policy, reference, rows)

    return _make_sum_step(mesh, kl)


def _make_sum_step(mesh: Mesh, of_rows: Callable[[Any, PackedBatch], jax.Array]) -> ScoreStep:
    """The jitted sum over a batch's rows of `of_rows(params, rows)`, an (example, 5) array."""

    @jax.jit
    def sum_step(params: Any, batch: PackedBatch, used: jax.Array) -> jax.Array:
        def local(params: Any, batch: PackedBatch, used: jax.Array) -> jax.Array:
            def body(index: jax.Array, sums: jax.Array) -> jax.Array:
                return sums + of_rows(params, _rows(batch, index))

            zeros = jnp.zeros(batch.response_mask.shape, jnp.float32)
            return jax.lax.psum(jax.lax.fori_loop(0, used, body, zeros), partition.BATCH_AXES)

        specs = (partition.param_specs(params, mesh), sharding.batch_spec(batch), PartitionSpec())
        return _shard_map(local, mesh, specs, PartitionSpec())(params, batch, used)

    return sum_step


def _gradients(
    model: Decoder,
    method: Method,
    mesh: Mesh,
    state: TrainState,
    base: Any,
    reference: Any,
    batch: PackedBatch,
    used: jax.Array,
    rewards: jax.Array | None,
) -> tuple[Any, jax.Array, jax.Array]:
    """Gradient of the whole batch's loss, and both models' (example, 5) log-probs."""

    def local(
        params: Any,
        base: Any,
        reference: Any,
        batch: PackedBatch,
        used: jax.Array,
        method_state: Any,
        rewards: jax.Array | None,
    ) -> tuple[Any, jax.Array, jax.Array]:
        normalizer = method.normalizer(batch.response_mask, batch.response_length)
        if reference is None and method.needs_reference:
            reference = base

        def rows_loss(params: Any, rows: PackedBatch, given: jax.Array) -> Any:
            # Responses that lie elsewhere have a constant score of 0 here: they shift this part's
            # loss, which nobody reads, and leave its gradient alone.
            log_probs = _log_probs(model, lora_policy(params, base), rows, mesh)
            scores = log_probs - given
            loss, losses = method.loss(
                scores, rows.response_mask, normalizer, method_state, rewards
            )
            return losses if method.combines_gradients else loss, log_probs

        def accumulation_step(index: jax.Array | int) -> Any:
            rows = _rows(batch, index)
            given = _reference_log_probs(model, reference, rows, mesh)
            loss, pull, log_probs = jax.vjp(
                lambda params: rows_loss(params, rows, given), params, has_aux=True
            )
            return _pull_back(loss, pull), log_probs, given

        if batch.tokens.shape[0] == 1:  # no accumulator to hold beside the gradients
            sums = accumulation_step(0)
        else:
            zeros = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, jnp.float32),
                jax.eval_shape(accumulation_step, 0),
            )
            add = functools.partial(jax.tree.map, jnp.add)
            sums = jax.lax.fori_loop(
                0, used, lambda index, total: add(total, accumulation_step(index)), zeros
            )
        gradients, *log_probs = sums
        gradients = sharding.reduce_gradients(gradients)
        return gradients, *jax.lax.psum(log_probs, partition.BATCH_AXES)

    whole = PartitionSpec()
    specs = partition.param_specs(state.params, mesh)
    frozen = [
        whole if _is_cached(tree) else partition.param_specs(tree, mesh)
        for tree in (base, reference)
    ]
    inputs = (specs, *frozen, sharding.batch_spec(batch), whole, whole, whole)
    dimensions = batch.response_mask.shape[1] - 1
    out = [specs] * dimensions if method.combines_gradients else specs
    gradients, *log_probs = _shard_map(local, mesh, inputs, (out, whole, whole))(
        state.params, base, reference, batch, used, state.method_state, rewards
    )
    if method.combines_gradients:
        gradients = method.combine(gradients, state.method_state)
    return gradients, *log_probs


def _pull_back(loss: jax.Array, pull: Callable[[jax.Array], tuple[Any]]) -> Any:
    """Gradient of a scalar, or the list of gradients of the entries of a vector, one at a time."""
    if loss.ndim == 0:
        return pull(jnp.ones_like(loss))[0]
    # Not vmapped: on CPUs jit(vmap(pull)) of jax 0.10.2 is wrong from the second gradient on. Its
    # YNNPACK fusions compute (x[None] * c).sum(-1, keepdims=True) * c, as in RMSNorm's gradient,
    # wrongly beyond c[0]; XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= avoids them.
    return [pull(one)[0] for one in jnp.eye(loss.size, dtype=loss.dtype)]


def _reference_log_probs(
    model: Decoder, reference: Any, rows: PackedBatch, mesh: Mesh
) -> jax.Array:
    """(example, 5), zero for responses that are not in `rows`, and for no reference."""
    if reference is None:
        return jnp.zeros(rows.response_mask.shape, jnp.float32)
    if _is_cached(reference):
        tokens = logprobs.sum_by_response(jnp.ones(rows.target.size, jnp.int32), rows)
        return jnp.where(tokens > 0, reference, 0.0)
    return _log_probs(model, reference, rows, mesh)


def _is_cached(reference: Any) -> bool:
    """Log-probs, rather than parameters."""
    return isinstance(reference, jax.Array)


def _shard_map(
    local: Callable[..., Any], mesh: Mesh, in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
    return jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _rows(batch: PackedBatch, index: jax.Array | int) -> PackedBatch:
    """The rows of one accumulation step; the example fields stay whole."""
    spec = sharding.batch_spec(batch)
    take = functools.partial(jax.lax.dynamic_index_in_dim, index=index, axis=0, keepdims=False)
    return jax.tree.map(
        lambda value, s: value if s == PartitionSpec() else take(value), batch, spec
    )


def _log_probs(model: Decoder, params: Any, rows: PackedBatch, mesh: Mesh) -> jax.Array:
    return logprobs.response_log_probs(*_local(model, params, mesh), rows)


def _local(model: Decoder, params: Any, mesh: Mesh) -> tuple[Decoder, Any]:
    """The decoder that computes on one device, and its parameters there."""
    tensor = sharding.tensor_parallel(mesh)
    model = model.clone(config=tensor.local(model.config), tensor=tensor)
    if not isinstance(params, LoraParams):
        model = model.clone(lora=LoraConfig())
    if mesh.shape[partition.FSDP_AXIS] > 1:
        gather = functools.partial(sharding.gather_layer, dtype=model.dtype)
        model = model.clone(gather=gather)
        params = sharding.gather_outer(params)
    return model, params
