"""Attention over token trees, by the computation that suits the platform.

Equal computations, by name: ``cudnn`` (`flash_attention`) on NVIDIA GPUs, ``splash``
(`splash_attention`) on TPUs, ``blocks`` (`block_attention`) on CPUs, and two in plain XLA for
whatever those do not take: ``dense`` scores every query against the whole row; ``segments``
unpacks each response beside a copy of its prompt's keys first, and is cheaper whenever a row
holds several responses.

A sliding window that only some layers have is a number that differs from layer to layer for those
in XLA; the kernels are compiled with it and without it. ``splash`` has no windows: on TPUs layers
that have one are left to XLA.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dignified_jax.models.attention.blocks import block_attention
from dignified_jax.models.attention.cudnn import cudnn_takes, flash_attention
from dignified_jax.models.attention.splash import splash_attention, tokamax_installed
from dignified_jax.models.attention.token_tree import TokenTree, visibility
from dignified_jax.models.attention.unpacking import Layout, repack, unpack

Computation = Literal["auto", "dense", "segments", "blocks", "cudnn", "splash"]

# Rows longer than this are processed a block of queries at a time, so that the score matrix
# never exceeds QUERY_BLOCK x row_length per head.
QUERY_BLOCK = 1024
# Attention scores that `segment_attention` holds at a time.
SCORES_AT_ONCE = 2**28
# Compiled for one window or none.
_KERNELS = ("cudnn", "splash")


def tree_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    tree: TokenTree,
    computation: Computation = "auto",
) -> Float[Array, "row length heads head_dim"]:
    """Scaled dot-product attention under the token-tree mask; softmax in float32.

    Args:
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim); kv_heads divides heads.
      tree: the mask.
      computation: which one; "auto" chooses by platform, dtype and shapes.

    Returns:
      (row, length, heads, head_dim), in the query's dtype.

    Raises:
      ValueError: `computation` is not a name, or can not compute this.
    """
    if tree.window is not None and tree.slides is not None:
        return _windows_in_some_layers(query, key, value, tree, computation)
    if computation == "auto":
        computation = choose(query, tree)
    return _compute(query, key, value, tree, computation)


def _windows_in_some_layers(
    query: jax.Array, key: jax.Array, value: jax.Array, tree: TokenTree, computation: Computation
) -> jax.Array:
    windowed = dataclasses.replace(tree, slides=None)
    whole = dataclasses.replace(windowed, window=None)
    inside, beyond = computation, computation
    if computation == "auto":
        inside, beyond = choose(query, windowed), choose(query, whole)
    elif computation == "splash":
        inside = _in_xla(query, windowed)
    if inside == beyond and inside not in _KERNELS:
        return _compute(query, key, value, tree, inside)
    return jax.lax.cond(
        tree.slides,
        lambda *inputs: _compute(*inputs, windowed, inside),
        lambda *inputs: _compute(*inputs, whole, beyond),
        *(query, key, value),
    )


def _compute(
    query: jax.Array, key: jax.Array, value: jax.Array, tree: TokenTree, computation: Computation
) -> jax.Array:
    if computation == "splash" and tree.window is not None:
        raise ValueError("attention='splash' does not compute a sliding window; choose 'dense'")
    if computation in ("segments", "cudnn") and tree.segments is None:
        raise ValueError(f"attention={computation!r} needs the segments of the packed rows")
    match computation:
        case "dense":
            return dense_attention(query, key, value, tree)
        case "segments":
            return segment_attention(query, key, value, tree)
        case "blocks":
            return block_attention(query, key, value, tree)
        case "cudnn":
            return flash_attention(query, key, value, tree)
        case "splash":
            return splash_attention(query, key, value, tree.visible_until)
    raise ValueError(
        f"attention: expected one of {', '.join(get_args(Computation))}, found {computation!r}"
    )


def choose(query: jax.Array, tree: TokenTree) -> Computation:
    """The fastest computation here of those that can compute this."""
    platform = jax.default_backend()
    if platform == "cpu":
        return "blocks"
    if platform == "tpu" and tokamax_installed() and tree.window is None:
        return "splash"
    segments = tree.segments is not None
    if segments and platform == "gpu" and cudnn_takes(query.dtype, query.shape[-1]):
        return "cudnn"
    return _in_xla(query, tree)


def _in_xla(query: jax.Array, tree: TokenTree) -> Computation:
    """The one with fewer scores of the two that run anywhere."""
    if tree.segments is None:
        return "dense"
    length = query.shape[1]
    keys = tree.prompt_block + tree.segment_block
    cheaper = tree.segments.shape[1] * tree.segment_block * keys < length * length
    return "segments" if cheaper else "dense"


def dense_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    tree: TokenTree,
) -> Float[Array, "row length heads head_dim"]:
    """Every query against every key of its row, masked; arguments as `tree_attention`."""
    length = query.shape[1]
    if length <= QUERY_BLOCK:
        mask = visibility(tree, 0, length)[:, None]
        return jax.nn.dot_product_attention(query, key, value, mask=mask)

    blocks = -(-length // QUERY_BLOCK)
    padding = blocks * QUERY_BLOCK - length
    padded = jnp.pad(query, ((0, 0), (0, padding), (0, 0), (0, 0)))
    stacked = padded.reshape(padded.shape[0], blocks, QUERY_BLOCK, *padded.shape[2:])

    @jax.checkpoint
    def block(carry: None, inputs: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        start, queries = inputs
        mask = visibility(tree, start, QUERY_BLOCK)
        return carry, jax.nn.dot_product_attention(queries, key, value, mask=mask[:, None])

    starts = jnp.arange(blocks) * QUERY_BLOCK
    _, outputs = jax.lax.scan(block, None, (starts, stacked.swapaxes(0, 1)))
    return outputs.swapaxes(0, 1).reshape(padded.shape)[:, :length]


def segment_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    tree: TokenTree,
) -> Float[Array, "row length heads head_dim"]:
    """Each segment's queries against its prompt's keys and its own, under one softmax.

    Arguments as `tree_attention`; `tree.segments` must be there.
    """
    alone, behind = (Layout.of(tree, with_prompt=with_prompt) for with_prompt in (False, True))
    # A segment's n-th token stands n places behind its prompt.
    last = behind.lead[..., None] + jnp.arange(alone.block)[:, None]
    mask = jnp.arange(behind.block) <= last  # (row, segment, query, key)
    if tree.window is not None:
        mask &= last - jnp.arange(behind.block) < tree.reach
    key, value = unpack(key, behind), unpack(value, behind)
    return repack(_attend(unpack(query, alone), key, value, mask), alone)


def _attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """Masked attention of every (row, segment), a chunk of segments at a time.

    A chunk's scores are recomputed in the backward pass.
    """
    rows, segments, queries, keys = mask.shape
    chunk = min(max(SCORES_AT_ONCE // (rows * query.shape[3] * queries * keys), 1), segments)
    chunks = -(-segments // chunk)

    def split(x: jax.Array) -> jax.Array:
        """(row, segment, ...) to (chunk, row * segments of the chunk, ...)."""
        padding = [(0, 0)] * x.ndim
        padding[1] = (0, chunks * chunk - segments)
        x = jnp.pad(x, padding).reshape(rows, chunks, chunk, *x.shape[2:])
        return x.swapaxes(0, 1).reshape(chunks, rows * chunk, *x.shape[3:])

    @jax.checkpoint
    def attend(parts: tuple[jax.Array, ...]) -> jax.Array:
        q, k, v, visible = parts
        return jax.nn.dot_product_attention(q, k, v, mask=visible[:, None])

    mixed = jax.lax.map(attend, tuple(map(split, (query, key, value, mask))))
    mixed = mixed.reshape(chunks, rows, chunk, *mixed.shape[2:]).swapaxes(0, 1)
    return mixed.reshape(rows, chunks * chunk, *mixed.shape[3:])[:, :segments]
