"""Keys and values of earlier tokens, kept for sampling: what a layer reads, and what it adds.

A layer's cache is the Linen collection "cache", stacked over layers like its parameters. It is in
two parts: `key` and `value` hold what was there before a few steps began, and `recent_key` and
`recent_value` what those steps added. The large part is read only, so that no step copies it.
Each token's own key and value leave the decoder by the collection "fresh", for the caller to put
where the next token finds them; nothing is computed or kept where that is not mutable.
"""

from __future__ import annotations

import math
from typing import TypedDict

import jax
import jax.numpy as jnp
from flax import linen as nn

from dignified_jax.models.attention.dispatch import Computation, tree_attention
from dignified_jax.models.attention.token_tree import TokenTree

CACHE, FRESH = "cache", "fresh"
# The position of a key that is not there: no query sees so far.
ABSENT = jnp.iinfo(jnp.int32).max


class LayerCache(TypedDict):
    """Keys and values of one layer; with a leading axis of layers, of all.

    Attributes:
      key, recent_key: (row, kv_head, head_dim, key): the last axis is that which scores have.
      value, recent_value: (row, kv_head, key, head_dim).
    """

    key: jax.Array
    value: jax.Array
    recent_key: jax.Array
    recent_value: jax.Array


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
      computation: of attention over the row.

    Returns:
      (row, length, heads, head_dim).
    """
    if not module.is_initializing():
        for name, fresh in (("key", key), ("value", value)):
            module.sow(FRESH, name, fresh, init_fn=lambda: None, reduce_fn=lambda _, new: new)
    if tree.key_positions is None:
        return tree_attention(query, key, value, tree, computation)
    cache = LayerCache(
        **{name: module.get_variable(CACHE, name) for name in LayerCache.__annotations__}
    )
    return cached_attention(query, key, value, cache, tree)


def cached_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, cache: LayerCache, tree: TokenTree
) -> jax.Array:
    """Attention of one token a row over the row's cache and itself; softmax in float32.

    Args:
      query: (row, 1, heads, head_dim).
      key, value: (row, 1, kv_heads, head_dim), of the token itself.
      cache: of the row's earlier tokens.
      tree: its `positions` (row, 1) are those of the tokens, its `key_positions` those of the
        cache's keys, the recent ones last; a key is seen from a later position inside the window.
    """
    rows, _, heads, width = query.shape
    kv_heads = key.shape[2]
    query = query.reshape(rows, kv_heads, heads // kv_heads, width)
    key, value = key[:, 0, :, None], value[:, 0, :, None]  # (row, kv_head, 1, head_dim)

    def scores(axes: str, keys: jax.Array) -> jax.Array:
        return jnp.einsum(axes, query, keys, preferred_element_type=jnp.float32)

    distance = tree.positions - tree.key_positions
    seen = (distance > 0) if tree.window is None else (distance > 0) & (distance < tree.reach)
    before = [scores("rkgd,rkds->rkgs", cache[name]) for name in ("key", "recent_key")]
    before = jnp.where(seen[:, None, None], jnp.concatenate(before, axis=-1), -jnp.inf)
    own = scores("rkgd,rksd->rkgs", key)
    weights = jax.nn.softmax(jnp.concatenate([before, own], axis=-1) / math.sqrt(width))
    weights = weights.astype(value.dtype)
    sizes = cache["value"].shape[2], cache["recent_value"].shape[2]
    parts = jnp.split(weights, (sizes[0], sum(sizes)), axis=-1)
    mixed = [
        jnp.einsum("rkgs,rksd->rkgd", part, values, preferred_element_type=jnp.float32)
        for part, values in zip(parts, (cache["value"], cache["recent_value"], value), strict=True)
    ]
    return sum(mixed).astype(value.dtype).reshape(rows, 1, heads, width)
