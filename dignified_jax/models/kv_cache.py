"""Keys and values of earlier tokens, kept for sampling: what a layer reads, and what it adds.

The cache is the Linen collection "cache", its arrays stacked over layers like parameters. It is in
two parts: `key` and `value` hold what was there before a few steps began, and `recent_key` and
`recent_value` what those steps added. It is read only, and broadcast to the scanned layers rather
than sliced for them: no step copies it, and a layer reads of it what its rows have filled. Each
token's own key and value leave the decoder by the collection "fresh", for the caller to put where
the next token finds them; nothing is computed or kept where that is not mutable.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dignified_jax.models.attention.dispatch import Computation, tree_attention
from dignified_jax.models.attention.token_tree import TokenTree

CACHE, FRESH = "cache", "fresh"
# The position of a key that is not there: no query sees so far.
ABSENT = jnp.iinfo(jnp.int32).max
# Rows that are read together, and places that are read at a time, where only those in use are.
GROUP, BLOCK = 8, 128


class KVCache(NamedTuple):
    """Keys and values of all layers.

    Attributes:
      key, recent_key: (layer, row, kv_head, head_dim, place): the last axis is that which scores
        have. The place of a key in the first is its position.
      value, recent_value: (layer, row, kv_head, place, head_dim).
    """

    key: jax.Array
    value: jax.Array
    recent_key: jax.Array
    recent_value: jax.Array


class _Sums(NamedTuple):
    """A softmax over keys that have been seen: (row, kv_head, group[, head_dim]) float32.

    Attributes:
      highest: score of them.
      total: of the exponentials of scores, less the highest.
      mixed: of the values, weighted by those.
    """

    highest: jax.Array
    total: jax.Array
    mixed: jax.Array


def attend(
    module: nn.Module,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    tree: TokenTree,
    computation: Computation,
) -> jax.Array:
    """A layer's attention: over the cache if `tree` says what is in it, else over the row.

    Args:
      module: the layer's attention, which has the collections.
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim).
      tree: who sees whom.
      computation: of attention over the row; over the cache "blocks" is that of `cached_attention`
        which suits a CPU, all others are dense.

    Returns:
      (row, length, heads, head_dim).
    """
    if not module.is_initializing():
        for name, fresh in (("key", key), ("value", value)):
            module.sow(FRESH, name, fresh, init_fn=lambda: None, reduce_fn=lambda _, new: new)
    if tree.key_positions is None:
        return tree_attention(query, key, value, tree, computation)
    cache = KVCache(*(module.get_variable(CACHE, name) for name in KVCache._fields))
    blocks = computation == "blocks" or (computation == "auto" and jax.default_backend() == "cpu")
    return cached_attention(query, key, value, cache, tree, blocks=blocks)


def cached_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    cache: KVCache,
    tree: TokenTree,
    *,
    blocks: bool,
) -> jax.Array:
    """Attention of one token a row over the row's cache and itself; softmax in float32.

    Args:
      query: (row, 1, heads, head_dim).
      key, value: (row, 1, kv_heads, head_dim), of the token itself.
      cache: of the row's earlier tokens.
      tree: its `positions` (row, 1) are those of the tokens, its `key_positions` those of the
        cache's keys, the recent ones last; a key is seen from a later position inside the window.
      blocks: reads the places that are in use alone, `GROUP` rows and `BLOCK` places at a time;
        otherwise all of them at once, as suits an accelerator.

    Returns:
      (row, 1, heads, head_dim).
    """
    rows, _, heads, width = query.shape
    query = query.reshape(rows, key.shape[2], heads // key.shape[2], width)
    places = cache.key.shape[-1]
    distance = tree.positions - tree.key_positions
    seen = (distance > 0) if tree.window is None else (distance > 0) & (distance < tree.reach)
    recent_key = jnp.concatenate([cache.recent_key[tree.layer], key[:, 0, :, :, None]], axis=-1)
    recent_value = jnp.concatenate([cache.recent_value[tree.layer], value[:, 0, :, None]], axis=2)
    recent_seen = jnp.pad(seen[:, places:], ((0, 0), (0, 1)), constant_values=True)  # itself
    start = _Sums(
        jnp.full(query.shape[:-1], -jnp.inf),
        jnp.zeros(query.shape[:-1]),
        jnp.zeros(query.shape, jnp.float32),
    )
    sums = _add(start, query, recent_key, recent_value, recent_seen)
    if not blocks:
        whole = cache.key[tree.layer], cache.value[tree.layer]
        sums = _add(sums, query, *whole, seen[:, :places])
    else:
        parts = [
            _add_blocks(sums, query, cache, tree, seen, slice(first, first + GROUP))
            for first in range(0, rows, GROUP)
        ]
        sums = jax.tree.map(lambda *each: jnp.concatenate(each), *parts)
    mixed = sums.mixed / sums.total[..., None]
    return mixed.astype(value.dtype).reshape(rows, 1, heads, width)


def _add_blocks(
    sums: _Sums,
    query: jax.Array,
    cache: KVCache,
    tree: TokenTree,
    seen: jax.Array,
    rows: slice,
) -> _Sums:
    """Sums of some rows, with the blocks added that hold keys they see."""
    sums, query, seen = jax.tree.map(lambda each: each[rows], (sums, query, seen))
    size, places = query.shape[0], cache.key.shape[-1]
    block = math.gcd(places, BLOCK)
    used = jnp.any(seen[:, :places], axis=0)
    first = jnp.argmax(used) // block  # 0 where none is
    end = jnp.max(jnp.where(used, jnp.arange(1, places + 1), 0))
    zero = jnp.zeros_like(tree.layer)

    def body(number: jax.Array, sums: _Sums) -> _Sums:
        at = (number * block).astype(zero.dtype)
        _, _, heads, width, _ = cache.key.shape
        here = (tree.layer, zero + rows.start, zero)
        keys = jax.lax.dynamic_slice(cache.key, (*here, zero, at), (1, size, heads, width, block))
        values = jax.lax.dynamic_slice(
            cache.value, (*here, at, zero), (1, size, heads, block, width)
        )
        inside = jax.lax.dynamic_slice_in_dim(seen, at, block, axis=1)
        return _add(sums, query, keys[0], values[0], inside)

    return jax.lax.fori_loop(first, -(-end // block), body, sums)


def _add(
    sums: _Sums, query: jax.Array, keys: jax.Array, values: jax.Array, seen: jax.Array
) -> _Sums:
    """Adds keys to the softmax of queries (row, kv_head, group, head_dim).

    Args:
      sums: of other keys; of none, where all rows see one of these.
      query: the queries.
      keys: (row, kv_head, head_dim, key).
      values: (row, kv_head, key, head_dim).
      seen: (row, key) bool.
    """
    scores = jnp.einsum("rkgd,rkds->rkgs", query, keys, preferred_element_type=jnp.float32)
    scores = jnp.where(seen[:, None, None], scores / math.sqrt(query.shape[-1]), -jnp.inf)
    highest = jnp.maximum(sums.highest, scores.max(axis=-1))
    weights = jnp.exp(scores - highest[..., None])
    decay = jnp.exp(sums.highest - highest)
    mixed = jnp.einsum(
        "rkgs,rksd->rkgd", weights.astype(values.dtype), values, preferred_element_type=jnp.float32
    )
    return _Sums(
        highest,
        sums.total * decay + weights.sum(axis=-1),
        sums.mixed * decay[..., None] + mixed,
    )
