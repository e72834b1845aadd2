"""Bytes of a train step on one device, by part, from formulas: nothing is compiled or allocated.

What lies there throughout, the step's arguments, is added up from the shapes and shardings of
`abstract`. What comes and goes is added up at every moment that may be the largest. The formulas
follow `step`, `decoder` and `output_head`, and what XLA makes of them; benchmarks/memory.py
compares the two. With a batch of N tokens and S predictions on a device at a time, and C of a
chunk of them, the terms that matter are

    activations  layers x N x hidden                     one layer  N x (4 intermediate + ...)
    logits       C x vocabulary                          kernel's gradient  hidden x vocabulary
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jax.sharding import AbstractMesh, Mesh

from dignified_jax.data import DIMENSIONS
from dignified_jax.data.batch import Capacity
from dignified_jax.models import attention, output_head, partition
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, abstract_params
from dignified_jax.models.token_tree import TokenTree
from dignified_jax.training.abstract import BatchShape, StepInputs
from dignified_jax.training.sharding import row_devices, tensor_parallel

_FLOAT32 = 4


@dataclasses.dataclass(frozen=True)
class Parts:
    """Bytes on one device.

    Attributes:
      parameters: the policy's.
      optimizer: its moments.
      reference: the frozen parameters, or their log-probs of a batch.
      batch: the packed rows and the objective's state.
      gradients: as far as they are there.
      accumulators: sums of gradients over accumulation steps, and the gradients of the other
        dimensions (PCGrad).
      casts: parameters in the compute dtype, and gathered ones.
      activations: what the layers keep for the backward pass.
      layer: the working set of the one layer that is in its backward pass.
      log_probs: a chunk's logits, and the states they come from.
      update: copies of gradients and moments.
    """

    parameters: int = 0
    optimizer: int = 0
    reference: int = 0
    batch: int = 0
    gradients: int = 0
    accumulators: int = 0
    casts: int = 0
    activations: int = 0
    layer: int = 0
    log_probs: int = 0
    update: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(dataclasses.astuple(self))

    @property
    def arguments(self) -> int:
        """What lies there throughout."""
        return self.parameters + self.optimizer + self.reference + self.batch


@dataclasses.dataclass(frozen=True)
class Rows:
    """The packed rows that a device computes at a time.

    Attributes:
      rows, length: their number, and the tokens of each.
      capacity: what each can hold.
    """

    rows: int
    length: int
    capacity: Capacity

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return self.rows * self.length

    @property
    def slots(self) -> int:
        """Predictions of all rows."""
        return self.rows * self.capacity.slots


def moments(
    module: Decoder,
    inputs: StepInputs,
    mesh: Mesh | AbstractMesh,
    shape: BatchShape,
    combines_gradients: bool = False,
    fused: bool = True,
) -> dict[str, Parts]:
    """What is there at each moment that may be the step's largest, by the moment's name.

    Args:
      module: the decoder, its attention by name.
      inputs: the step's arguments.
      mesh: the devices.
      shape: of the packed rows.
      combines_gradients: see `objectives.Method`.
      fused: whether XLA's fusions have several results, as on GPUs and TPUs. On CPUs they have one,
        so that more of a layer is stored, and the clipped gradient and the moments that several
        fusions read are copied.
    """
    params = inputs.state.params
    local = tensor_parallel(mesh).local(module.config)
    fsdp = mesh.shape[partition.FSDP_AXIS]
    module = module.clone(config=local)
    rows = Rows(shape.rows // row_devices(mesh), shape.row_length, shape.capacity)
    dtype = params["norm"]["scale"].dtype
    compute = jnp.dtype(module.dtype).itemsize
    narrows = dtype != module.dtype
    # Gathered over fsdp; XLA casts before it gathers.
    outer_copies = narrows or fsdp > 1
    matrix = local.hidden_size * local.vocab_size  # the embedding; the output kernel
    layers = held(params["layers"])

    # Every dimension's gradient is whole before the next one's begins.
    trees = len(DIMENSIONS) if combines_gradients else 1
    # The loop over accumulation steps carries float32 sums beside a step's own gradients.
    sums = elements(params) * _FLOAT32 * trees if shape.steps > 1 else 0
    others = held(params) * (trees - 1)
    throughout = Parts(
        parameters=held(params),
        optimizer=held(inputs.state.opt_state),
        reference=held(inputs.reference),
        batch=held((inputs.batch, inputs.state.method_state, inputs.rewards)),
        accumulators=sums + others,
    )
    forward = dataclasses.replace(
        throughout,
        activations=kept(module, dtype.name, fsdp, rows),
        # XLA casts the weights of all layers before the loop over them, not one by one in it.
        casts=elements(params["layers"]) * compute if narrows else 0,
    )
    return {
        "log-probs, backward": dataclasses.replace(
            forward,
            # Of the output kernel, summed over chunks in float32.
            gradients=matrix * _FLOAT32,
            casts=forward.casts + (matrix * compute if outer_copies else 0),
            log_probs=_log_probs(local, rows.slots, compute),
        ),
        "layers, backward": dataclasses.replace(
            forward,
            # Zeros for the gradients of all layers before the loop; the output kernel's waits to
            # be summed over devices with the embedding's, or until XLA's scheduler gets to it.
            gradients=layers + matrix * _FLOAT32,
            layer=_layer(module, rows, fused),
        ),
        "embedding, backward": dataclasses.replace(
            throughout,
            # That of the look-up in the compute dtype and then in float32, beside the kernel's.
            gradients=layers + matrix * (compute + 2 * _FLOAT32),
        ),
        "update": dataclasses.replace(
            throughout,
            gradients=0 if shape.steps > 1 else held(params),
            # PCGrad's combined gradient stands beside those that it combines.
            accumulators=(sums or others) + (held(params) if combines_gradients else 0),
            update=0 if fused else held(params) + held(inputs.state.opt_state),
        ),
    }


def largest(moments: dict[str, Parts]) -> str:
    """Name of the moment at which most is there."""
    return max(moments, key=lambda name: moments[name].total)


def held(tree: Any) -> int:
    """Bytes on one device of a tree of `jax.ShapeDtypeStruct`s with shardings."""
    leaves = jax.tree.leaves(tree)
    return sum(_entries(leaf) * leaf.dtype.itemsize for leaf in leaves)


def elements(tree: Any) -> int:
    """Entries on one device of such a tree."""
    return sum(map(_entries, jax.tree.leaves(tree)))


def _entries(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape))


@functools.cache
def kept(module: Decoder, dtype: str, fsdp: int, tree: Rows) -> int:
    """Bytes that the layers' forward pass keeps for the backward pass on one device.

    Not a formula: the residuals of the decoder's own `jax.vjp`, whatever `remat` and attention
    say, without the parameters themselves, which are arguments.

    Args:
      module: one device's part of the decoder.
      dtype: of the parameters.
      fsdp: over how many devices the layers' parameters are split.
      tree: the rows of one device.
    """

    def part(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        axis = partition.split(path).fsdp if path[0].key == "layers" else None
        sizes = [n // fsdp if number == axis else n for number, n in enumerate(leaf.shape)]
        return jax.ShapeDtypeStruct(sizes, dtype)

    def gather(variables: Any) -> Any:
        """Stands in for `sharding.gather_layer`: the same shapes without devices."""

        def repeat(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
            axis = partition.split(path).fsdp
            parts = [leaf.astype(module.dtype)] * fsdp
            return leaf if axis is None else jnp.concatenate(parts, axis - 1)

        return jax.tree.map_with_path(repeat, variables)

    decoder = module.clone(
        gather=gather if fsdp > 1 else None,
        # The kernels of GPUs and TPUs keep what ours keeps, and can't be traced everywhere.
        attention="blocks" if module.attention in ("cudnn", "splash") else module.attention,
    )

    def residuals(params: Any, tokens: jax.Array, segments: jax.Array) -> Any:
        blocks = tree.capacity.prompt_block, tree.capacity.segment_block
        states = (tokens, tokens, TokenTree(tokens, segments, *blocks))

        def hidden(params: Any) -> jax.Array:
            return decoder.apply({"params": params}, *states, method=Decoder.hidden_states)

        return jax.vjp(hidden, params)[1]

    params = jax.tree.map_with_path(part, abstract_params(module.config))
    tokens = jax.ShapeDtypeStruct((tree.rows, tree.length), jnp.int32)
    segments = jax.ShapeDtypeStruct((tree.rows, tree.capacity.segments, 4), jnp.int32)
    traced = jax.make_jaxpr(residuals)(params, tokens, segments).jaxpr
    given = set(traced.invars)
    saved = {var for var in traced.outvars if isinstance(var, Var) and var not in given}
    return sum(math.prod(var.aval.shape) * var.aval.dtype.itemsize for var in saved)


def _log_probs(config: DecoderConfig, slots: int, compute: int) -> int:
    """`output_head`'s backward pass: softmax in float32 and its gradient for a chunk, and the
    states of all predictions with their gradients."""
    chunk = -(-slots // -(-slots // output_head.TOKENS_PER_CHUNK))
    logits = chunk * config.vocab_size * (_FLOAT32 + compute)
    return logits + 3 * slots * config.hidden_size * compute


def _layer(module: Decoder, rows: Rows, fused: bool) -> int:
    """One layer's recomputed forward pass and its backward pass.

    XLA puts the products that give the weights' gradients off, so that the feed-forward network's
    part is still there when the attention's is made.
    """
    config, compute = module.config, jnp.dtype(module.dtype).itemsize
    query = config.num_heads * config.head_dim
    key = config.num_kv_heads * config.head_dim
    weights = config.hidden_size * (2 * query + 2 * key + 3 * config.intermediate_size)
    # Gate, up, their product and a gradient; or the gate's activation and its gradient too.
    feed_forward = (4 if fused else 6) * config.intermediate_size
    # Input, normed input and their gradients; queries and mixed values, keys and values, each
    # before and after the rotation or with a gradient.
    others = 4 * config.hidden_size + 2 * query + 4 * key
    return (
        rows.tokens * (feed_forward + others) * compute
        + _attention(module, rows)
        + weights * compute  # gathered, or a slice of all layers'
    )


def _attention(module: Decoder, rows: Rows) -> int:
    """Bytes of the attention's backward pass in one layer, beyond its arguments and output."""
    config, compute = module.config, jnp.dtype(module.dtype).itemsize
    length, capacity = rows.length, rows.capacity
    heads, width = config.num_heads, config.head_dim
    both = (config.num_heads + config.num_kv_heads) * width
    block = min(capacity.prompt_block + capacity.segment_block, length)
    unpacked = rows.rows * capacity.segments * block
    match module.attention:
        case "dense":  # scores, their softmax and its gradient
            queries = min(length, attention.QUERY_BLOCK)
            return 3 * rows.rows * heads * queries * length * _FLOAT32
        case "segments":  # the same for a chunk, and unpacked keys and values with gradients
            scores = rows.rows * heads * capacity.segments * capacity.segment_block * block
            scores = min(scores, attention.SCORES_AT_ONCE)
            return 3 * scores * _FLOAT32 + 4 * unpacked * config.num_kv_heads * width * compute
        case "blocks":  # outputs and gradients of queries, keys and values in float32
            return rows.tokens * 2 * both * _FLOAT32
        case "cudnn":  # queries, keys, values and outputs unpacked, with gradients
            return 4 * unpacked * both * compute
        case "splash":  # a row at a time: row sums and maxima over 128 lanes, and two masks
            return heads * length * 2 * 128 * _FLOAT32 + 3 * length * length
    raise ValueError(f"attention: no formula for {module.attention!r}")
