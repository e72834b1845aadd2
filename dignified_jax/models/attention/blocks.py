"""Token-tree attention over the blocks of (query, key) pairs that hold a visible pair, in XLA.

Flash attention (Dao et al., 2022) with one loop over the needed blocks of all rows: scores exist a
block at a time, and blocks without a visible pair are never visited. Memory is linear in the
row length. The loop is sequential, which suits a CPU, where a block's scores stay in its cache.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from dignified_jax.models.attention.checkpoint_names import ATTENTION_OUTPUT
from dignified_jax.models.attention.token_tree import TokenTree

# Queries and keys of a block.
BLOCK = 128


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["rows", "queries", "keys", "count", "visible_until", "reach", "positions"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class _Pairs:
    """The needed block pairs, in the order of rows, query blocks, key blocks.

    Attributes:
      rows, queries, keys: (most pairs,) int32 indices of row, query block and key block.
      count: () int32, how many of them are needed.
      visible_until: (row, block, BLOCK) int32.
      reach: () int32, how far back a query sees; None without a window.
      positions: as in `TokenTree`, (row, block, BLOCK) int32.
    """

    rows: jax.Array
    queries: jax.Array
    keys: jax.Array
    count: jax.Array
    visible_until: jax.Array
    reach: jax.Array | None = None
    positions: jax.Array | None = None

    def mask(self, pair: jax.Array) -> jax.Array:
        """(BLOCK, BLOCK) bool visibility of a pair, query by key."""
        inside = jnp.arange(BLOCK)
        query = self.queries[pair] * BLOCK + inside[:, None]
        key = self.keys[pair] * BLOCK + inside[None, :]
        until = self.visible_until[self.rows[pair], self.keys[pair]]
        mask = (key <= query) & (query < until[None, :])
        if self.reach is None:
            return mask
        at = self.positions[self.rows[pair]]
        return mask & (at[self.queries[pair]][:, None] - at[self.keys[pair]] < self.reach)


def block_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    tree: TokenTree,
) -> Float[Array, "row length heads head_dim"]:
    """Scaled dot-product attention under the token-tree mask; softmax in float32.

    Args:
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim); kv_heads divides heads.
      tree: the mask.

    Returns:
      (row, length, heads, head_dim), in the query's dtype. A query that sees no key gets 0.
    """
    rows, length, heads, width = query.shape
    kv_heads = key.shape[2]
    blocks = -(-length // BLOCK)
    padding = ((0, 0), (0, blocks * BLOCK - length))

    def split(x: jax.Array) -> jax.Array:
        """(row, length, heads, width) to (row, block, kv_heads, group * BLOCK, width)."""
        x = jnp.pad(x, (*padding, (0, 0), (0, 0)))
        x = x.reshape(rows, blocks, BLOCK, kv_heads, -1, width)
        return x.transpose(0, 1, 3, 4, 2, 5).reshape(rows, blocks, kv_heads, -1, width)

    whole = lambda x: jnp.pad(x, padding).reshape(rows, blocks, BLOCK)  # noqa: E731
    reach = positions = None
    if tree.window is not None:
        reach, positions = jnp.int32(tree.reach), whole(tree.positions)
    pairs = _needed_pairs(whole(tree.visible_until), reach, positions)
    mixed = _attend(split(query), split(key), split(value), pairs)
    mixed = mixed.reshape(rows, blocks, kv_heads, heads // kv_heads, BLOCK, width)
    mixed = mixed.transpose(0, 1, 4, 2, 3, 5).reshape(rows, blocks * BLOCK, heads, width)
    return mixed[:, :length]


def _needed_pairs(
    visible_until: jax.Array, reach: jax.Array | None = None, positions: jax.Array | None = None
) -> _Pairs:
    rows, blocks, _ = visible_until.shape
    index = jnp.arange(blocks)
    # Some key of block k is seen from query block q iff the last sight of k reaches q's start.
    seen = visible_until.max(axis=-1)[:, None, :] > index[:, None] * BLOCK
    needed = seen & (index[None, :] <= index[:, None])
    if reach is not None:  # no query is nearer to a key than the first one and the last one
        needed &= positions.min(axis=-1)[:, :, None] - positions.max(axis=-1)[:, None, :] < reach
    most = rows * blocks * (blocks + 1) // 2
    found = jnp.nonzero(needed, size=most, fill_value=0)
    row, query, key = (part.astype(jnp.int32) for part in found)
    count = needed.sum(dtype=jnp.int32)
    return _Pairs(row, query, key, count, visible_until, reach, positions)


def _scores(query: jax.Array, key: jax.Array, pairs: _Pairs, pair: jax.Array) -> jax.Array:
    """Scaled scores (kv_heads, group * BLOCK, BLOCK) of a pair, -inf where invisible."""
    q = query[pairs.rows[pair], pairs.queries[pair]]
    k = key[pairs.rows[pair], pairs.keys[pair]]
    scores = jnp.einsum("hqd,hkd->hqk", q, k, preferred_element_type=jnp.float32)
    mask = jnp.tile(pairs.mask(pair), (q.shape[1] // BLOCK, 1))
    return jnp.where(mask, scores / math.sqrt(q.shape[-1]), -jnp.inf)


def _forward(
    query: jax.Array, key: jax.Array, value: jax.Array, pairs: _Pairs
) -> tuple[jax.Array, jax.Array]:
    """(output in float32, log-sum-exp of each query's scores)."""

    def body(pair: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        highest, total, output = carry
        at = pairs.rows[pair], pairs.queries[pair]
        scores = _scores(query, key, pairs, pair)
        before = highest[at]
        now = jnp.maximum(before, scores.max(axis=-1))
        shift = jnp.where(jnp.isfinite(now), now, 0.0)  # of queries that have seen no key yet
        weights = jnp.exp(scores - shift[..., None])
        decay = jnp.exp(before - shift)
        v = value[pairs.rows[pair], pairs.keys[pair]]
        mixed = jnp.einsum("hqk,hkd->hqd", weights, v, preferred_element_type=jnp.float32)
        return (
            highest.at[at].set(now),
            total.at[at].set(total[at] * decay + weights.sum(axis=-1)),
            output.at[at].set(output[at] * decay[..., None] + mixed),
        )

    shape = query.shape[:-1]
    start = (jnp.full(shape, -jnp.inf), jnp.zeros(shape), jnp.zeros(query.shape, jnp.float32))
    highest, total, output = jax.lax.fori_loop(0, pairs.count, body, start)
    seen = total > 0
    log_sum = jnp.where(seen, highest + jnp.log(jnp.where(seen, total, 1.0)), 0.0)
    return output / jnp.where(seen, total, 1.0)[..., None], log_sum


@jax.custom_vjp
def _attend(query: jax.Array, key: jax.Array, value: jax.Array, pairs: _Pairs) -> jax.Array:
    return _forward(query, key, value, pairs)[0].astype(query.dtype)


def _attend_forward(query: jax.Array, key: jax.Array, value: jax.Array, pairs: _Pairs):
    output, log_sum = _forward(query, key, value, pairs)
    output, log_sum = checkpoint_name((output.astype(query.dtype), log_sum), ATTENTION_OUTPUT)
    return output, (query, key, value, pairs, output, log_sum)


def _attend_backward(saved, cotangent: jax.Array):
    query, key, value, pairs, output, log_sum = saved
    scale = 1.0 / math.sqrt(query.shape[-1])
    cotangent = cotangent.astype(jnp.float32)
    # The softmax's Jacobian needs sum_k weight_k dweight_k, which is output . cotangent.
    inner = jnp.sum(output.astype(jnp.float32) * cotangent, axis=-1)

    def body(pair: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        d_query, d_key, d_value = carry
        q_at = pairs.rows[pair], pairs.queries[pair]
        k_at = pairs.rows[pair], pairs.keys[pair]
        weights = jnp.exp(_scores(query, key, pairs, pair) - log_sum[q_at][..., None])
        out = cotangent[q_at]
        v = value[k_at].astype(jnp.float32)
        d_weights = jnp.einsum("hqd,hkd->hqk", out, v)
        d_scores = weights * (d_weights - inner[q_at][..., None]) * scale
        q, k = query[q_at].astype(jnp.float32), key[k_at].astype(jnp.float32)
        return (
            d_query.at[q_at].add(jnp.einsum("hqk,hkd->hqd", d_scores, k)),
            d_key.at[k_at].add(jnp.einsum("hqk,hqd->hkd", d_scores, q)),
            d_value.at[k_at].add(jnp.einsum("hqk,hqd->hkd", weights, out)),
        )

    start = tuple(jnp.zeros(x.shape, jnp.float32) for x in (query, key, value))
    gradients = jax.lax.fori_loop(0, pairs.count, body, start)
    return *(g.astype(x.dtype) for g, x in zip(gradients, saved[:3], strict=True)), None


_attend.defvjp(_attend_forward, _attend_backward)
