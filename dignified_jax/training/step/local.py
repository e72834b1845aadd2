"""The part of a step that one device computes: its rows, its decoder, and log-probs under both."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from dignified_jax.data import PackedBatch
from dignified_jax.models import logprobs, partition
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.experts import ExpertLoad
from dignified_jax.models.lora import LoraConfig, LoraParams
from dignified_jax.models.residual import Edits
from dignified_jax.training.step import sharding


def shard_map(
    local: Callable[..., PyTree], mesh: Mesh, in_specs: PyTree, out_specs: PyTree
) -> Callable[..., PyTree]:
    """Returns `local` over the devices of `mesh`, all axes manual."""
    return jax.shard_map(local, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def rows_of(batch: PackedBatch, index: Int[Array, ""] | int) -> PackedBatch:
    """Returns the rows of one accumulation step; the example fields stay whole."""
    spec = sharding.batch_spec(batch)
    take = functools.partial(jax.lax.dynamic_index_in_dim, index=index, axis=0, keepdims=False)
    return jax.tree.map(
        lambda value, s: value if s == PartitionSpec() else take(value), batch, spec
    )


def log_probs(
    model: Decoder, params: Params | LoraParams, rows: PackedBatch, mesh: Mesh
) -> Float[Array, "example response"]:
    """Returns a device's log-probs of responses, 0 for those that are not in its rows."""
    return logprobs.response_log_probs(*decoder(model, params, mesh), rows)


def log_probs_and_load(
    model: Decoder,
    params: Params | LoraParams,
    rows: PackedBatch,
    mesh: Mesh,
    edits: Edits | None = None,
) -> tuple[Float[Array, "example response"], ExpertLoad | None]:
    """Returns those of `log_probs`, and the load of the model's experts in these rows.

    `edits` are of the residual stream.
    """
    return logprobs.response_log_probs_and_load(*decoder(model, params, mesh), rows, edits)


def decoder(
    model: Decoder, params: Params | LoraParams, mesh: Mesh
) -> tuple[Decoder, Params | LoraParams]:
    """Returns the decoder that computes on one device, and its parameters there."""
    tensor = sharding.tensor_parallel(mesh)
    model = model.clone(config=tensor.local(model.config), tensor=tensor)
    if not isinstance(params, LoraParams):
        model = model.clone(lora=LoraConfig())
    split = mesh.shape[partition.FSDP_AXIS] > 1
    if split or jax.tree.leaves(params)[0].dtype != model.dtype:
        gather = functools.partial(sharding.gather_layer, dtype=model.dtype)
        model = model.clone(gather=gather)
    return model, sharding.gather_outer(params) if split else params
