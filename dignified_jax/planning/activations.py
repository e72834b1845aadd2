"""Bytes that the forward and backward passes of a device's rows hold for a while.

`memory` says which of it is there at which moment.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Var
from jaxtyping import PyTree

from dignified_jax.data.batch import Capacity
from dignified_jax.models import families, grouped, output_head, partition
from dignified_jax.models.attention import dispatch, splash, visible_blocks
from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, Params, abstract_lora, abstract_params
from dignified_jax.models.lora import policy, variables
from dignified_jax.models.partition import KeyPath

_FLOAT32 = 4


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
        """Tokens of all rows."""
        return self.rows * self.length

    @property
    def slots(self) -> int:
        """Predictions of all rows."""
        return self.rows * self.capacity.slots


@functools.cache
def residual_bytes(module: Decoder, dtype: str, fsdp: int, tree: Rows) -> int:
    """Bytes that the layers' forward pass keeps for the backward pass on one device.

    Not a formula: the residuals of the decoder's own `jax.vjp` with respect to what is trained,
    whatever `remat` and attention say, without the parameters themselves, which are arguments.

    Args:
      module: one device's part of the decoder.
      dtype: of the parameters; the matrices of LoRA's base are in the compute dtype.
      fsdp: over how many devices the layers' parameters are split.
      tree: the rows of one device.
    """

    def parts(params: Params, matrices: PyTree) -> Params:
        def part(path: KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            axis = partition.split(path).fsdp if path[0].key == "layers" else None
            sizes = [n // fsdp if number == axis else n for number, n in enumerate(leaf.shape)]
            return jax.ShapeDtypeStruct(sizes, dtype if path[-1].key == "scale" else matrices)

        return jax.tree.map_with_path(part, params)

    def gather(layer: PyTree) -> PyTree:
        """Stands in for `sharding.gather_layer`: the same shapes without devices."""

        def repeat(path: KeyPath, leaf: jax.Array) -> jax.Array:
            axis = partition.split(path).fsdp
            copies = [leaf.astype(module.dtype)] * fsdp
            return leaf if axis is None else jnp.concatenate(copies, axis - 1)

        return jax.tree.map_with_path(repeat, layer)

    decoder = module.clone(
        gather=gather if fsdp > 1 else None,
        # The kernels of GPUs and TPUs keep what ours keeps, and can't be traced everywhere.
        attention="blocks" if module.attention in ("cudnn", "splash") else module.attention,
    )

    def residuals(params: PyTree, base: PyTree, tokens: jax.Array, segments: jax.Array) -> PyTree:
        blocks = tree.capacity.prompt_block, tree.capacity.segment_block
        states = (tokens, tokens, TokenTree(tokens, segments, *blocks))

        def hidden(params: PyTree) -> jax.Array:
            weights = variables(policy(params, base))
            return decoder.apply(weights, *states, method=Decoder.hidden_states)

        return jax.vjp(hidden, params)[1]

    whole, lora = abstract_params(module.config), module.lora
    params, base = parts(whole, dtype), None
    if lora.enabled:
        params, base = parts(abstract_lora(module.config, lora), dtype), parts(whole, module.dtype)
    tokens = jax.ShapeDtypeStruct((tree.rows, tree.length), jnp.int32)
    segments = jax.ShapeDtypeStruct((tree.rows, tree.capacity.segments, 4), jnp.int32)
    traced = jax.make_jaxpr(residuals)(params, base, tokens, segments).jaxpr
    given = set(traced.invars)
    saved = {var for var in traced.outvars if isinstance(var, Var) and var not in given}
    return sum(math.prod(var.aval.shape) * var.aval.dtype.itemsize for var in saved)


def log_probs(config: DecoderConfig, slots: int, compute: int, inlined: bool) -> int:
    """`output_head`'s backward pass: softmax in float32 and its gradient for a chunk, unless that
    is `inlined` into products, and the states of all predictions with their gradients."""
    chunk = -(-slots // -(-slots // output_head.TOKENS_PER_CHUNK))
    logits = chunk * config.vocab_size * (_FLOAT32 + (0 if inlined else compute))
    return logits + 3 * slots * config.hidden_size * compute


def layer(module: Decoder, rows: Rows, fused: bool, inlined: bool) -> int:
    """One layer's recomputed forward pass and its backward pass.

    `fused` and `inlined` as in `memory.moments`; `inlined` for a platform that has an instruction
    for experts' products too.

    XLA puts the products that give the weights' gradients off, so that the feed-forward network's
    part is still there when the attention's is made.
    """
    config, compute = module.config, jnp.dtype(module.dtype).itemsize
    query = config.num_heads * config.head_dim
    key = config.num_kv_heads * config.head_dim
    weights, feed_forward = _feed_forward(module, rows, fused, inlined)
    weights += config.hidden_size * (2 * query + 2 * key)
    # Input, normed input and their gradients, and what each further norm was given; queries and
    # mixed values, keys and values, each before and after the rotation or with a gradient.
    others = (4 + _norms(config) - 2) * config.hidden_size + 2 * query + 4 * key
    low_rank = 2 * len(module.lora.names) * (module.lora.rank or 0)  # with gradients
    return (
        (feed_forward + rows.tokens * (others + low_rank)) * compute
        + _attention(module, rows)
        + weights * compute  # gathered, or a slice of all layers'
    )


def _norms(config: DecoderConfig) -> int:
    """Norms of a layer's whole width."""
    layers = jax.tree.leaves_with_path(abstract_params(config)["layers"])
    shape = (config.num_layers, config.hidden_size)
    # Those of queries and keys stand in the attention.
    return sum(len(p) == 2 and p[-1].key == "scale" and x.shape == shape for p, x in layers)


def _feed_forward(module: Decoder, rows: Rows, fused: bool, inlined: bool) -> tuple[int, int]:
    """Entries of the feed-forward network's weights, and of what its backward pass holds."""
    config, experts = module.config, module.config.experts
    # Gate, up, their product and a gradient; or the gate's activation and its gradient too (GELU
    # has a tanh within), and what LoRA adds to gate and up.
    if experts is None:
        apart = 6 + len({"gate_proj", "up_proj"} & set(module.lora.names))
        apart += families.of(config.architecture).traits.activation is not nn.silu
        width = config.intermediate_size
        return 3 * config.hidden_size * width, rows.tokens * (4 if fused else apart) * width
    held, width = experts.count // experts.parts, experts.intermediate_size
    choices, matrix = rows.tokens * experts.per_token, config.hidden_size * width
    # Of each place those, and input and output with a gradient.
    place = (4 if fused else 6) * width + 4 * config.hidden_size
    if inlined:
        return 3 * held * matrix, choices * place
    block = grouped.block_size(choices, held)
    blocks = grouped.block_count(choices, held, block)
    # Of each block a copy of its matrix, and the gradient of that in float32.
    copies = blocks * matrix * (1 + _FLOAT32 // jnp.dtype(module.dtype).itemsize)
    return 3 * held * matrix, blocks * block * place + copies


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
            queries = min(length, dispatch.QUERY_BLOCK)
            return 3 * rows.rows * heads * queries * length * _FLOAT32
        case "segments":  # the same for a chunk, and unpacked keys and values with gradients
            scores = rows.rows * heads * capacity.segments * capacity.segment_block * block
            scores = min(scores, dispatch.SCORES_AT_ONCE)
            return 3 * scores * _FLOAT32 + 4 * unpacked * config.num_kv_heads * width * compute
        case "blocks":  # outputs and gradients of queries, keys and values in float32
            return rows.tokens * 2 * both * _FLOAT32
        case "cudnn":  # queries, keys, values and outputs unpacked, with gradients
            return 4 * unpacked * both * compute
        case "splash":
            # A row at a time row sums and maxima over 128 lanes, and masks of the forward pass;
            # those of the backward pass of all rows.
            masks = visible_blocks.MASKS_PER_BLOCK * splash.BLOCK * length
            return heads * length * 2 * 128 * _FLOAT32 + (1 + rows.rows) * masks
    raise ValueError(f"attention: no formula for {module.attention!r}")
