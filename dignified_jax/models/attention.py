"""Attention over token trees: several responses that share one prompt in a packed row.

A packed row holds [prompt | response | response | ...]. Query i may see key j iff

    j <= i < visible_until[j]

where ``visible_until`` is the end of the example for prompt keys and the end of the response for
response keys. With ``visible_until`` beyond the row everywhere this is plain causal attention.

Three equal computations of it: `dense_attention` scores every query against the whole row;
`segment_attention` unpacks each response beside a copy of its prompt's keys first, and is cheaper
whenever a row holds several responses; `block_attention.block_attention` visits only blocks with a
visible pair, one after another, and is the one for CPUs.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from dignified_jax.models.block_attention import block_attention

# Rows longer than this are processed a block of queries at a time, so that the score matrix
# never exceeds QUERY_BLOCK x row_length per head.
QUERY_BLOCK = 1024
# Attention scores that `segment_attention` holds at a time.
SCORES_AT_ONCE = 2**28


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["visible_until", "segments"],
    meta_fields=["prompt_block", "segment_block"],
)
@dataclasses.dataclass(frozen=True)
class TokenTree:
    """Who sees whom in packed rows.

    Attributes:
      visible_until: (row, length) int32, see the module docstring.
      segments: (row, segment, 4) int32: prompt start, prompt length, start and length of every
        prompt (whose own prompt length is 0) and response, in the order of their starts; unused
        ones have start = length of the row and length 0. None: only the dense computation.
      prompt_block, segment_block: at least the longest prompt length and length in `segments`.
    """

    visible_until: jax.Array
    segments: jax.Array | None = None
    prompt_block: int = 0
    segment_block: int = 0


def causal_tree(batch: int, length: int) -> TokenTree:
    """The tree of plain causal attention."""
    return TokenTree(jnp.full((batch, length), length, jnp.int32))


def tree_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, tree: TokenTree
) -> jax.Array:
    """Scaled dot-product attention under the token-tree mask; softmax in float32.

    Args:
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim); kv_heads divides heads.
      tree: the mask.

    Returns:
      (row, length, heads, head_dim), in the query's dtype.
    """
    if jax.default_backend() == "cpu":
        return block_attention(query, key, value, tree.visible_until)
    length = query.shape[1]
    if tree.segments is not None:
        keys = tree.prompt_block + tree.segment_block
        if tree.segments.shape[1] * tree.segment_block * keys < length * length:
            return segment_attention(query, key, value, tree)
    return dense_attention(query, key, value, tree)


def dense_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, tree: TokenTree
) -> jax.Array:
    """Every query against every key of its row, masked; arguments as `tree_attention`."""
    length = query.shape[1]
    if length <= QUERY_BLOCK:
        mask = visibility(tree.visible_until, 0, length)[:, None]
        return jax.nn.dot_product_attention(query, key, value, mask=mask)

    blocks = -(-length // QUERY_BLOCK)
    padding = blocks * QUERY_BLOCK - length
    padded = jnp.pad(query, ((0, 0), (0, padding), (0, 0), (0, 0)))
    stacked = padded.reshape(padded.shape[0], blocks, QUERY_BLOCK, *padded.shape[2:])

    @jax.checkpoint
    def block(carry: None, inputs: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        start, queries = inputs
        mask = visibility(tree.visible_until, start, QUERY_BLOCK)
        return carry, jax.nn.dot_product_attention(queries, key, value, mask=mask[:, None])

    starts = jnp.arange(blocks) * QUERY_BLOCK
    _, outputs = jax.lax.scan(block, None, (starts, stacked.swapaxes(0, 1)))
    return outputs.swapaxes(0, 1).reshape(padded.shape)[:, :length]


def visibility(visible_until: jax.Array, query_start: int | jax.Array, queries: int) -> jax.Array:
    """Boolean (row, query, key) mask for `queries` positions from `query_start` on."""
    keys = visible_until.shape[-1]
    i = query_start + jnp.arange(queries)[:, None]
    j = jnp.arange(keys)[None, :]
    return (j <= i) & (i < visible_until[:, None, :])


def segment_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, tree: TokenTree
) -> jax.Array:
    """Each segment's queries against its prompt's keys and its own, under one softmax.

    Arguments as `tree_attention`; `tree.segments` must be there.
    """
    layout = _Layout.of(tree, query.shape[1])
    query, key, value = (_unpack(x, layout) for x in (query, key, value))
    keys = jnp.concatenate([_prompt_part(key, tree), key], axis=2)
    values = jnp.concatenate([_prompt_part(value, tree), value], axis=2)

    _, prompt_length, _, size = jnp.moveaxis(tree.segments, -1, 0)[..., None, None]
    own = jnp.arange(tree.segment_block)
    in_own = (own[None, :] <= own[:, None]) & (own < size)  # (row, segment, query, key)
    in_prompt = jnp.arange(tree.prompt_block) < prompt_length
    in_prompt = jnp.broadcast_to(in_prompt, (*in_own.shape[:3], tree.prompt_block))
    mask = jnp.concatenate([in_prompt, in_own], axis=-1)

    return _repack(_attend(query, keys, values, mask), layout)


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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["index", "used", "place", "packed"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where each token of a row stands among the unpacked segments, both ways.

    Attributes:
      index: (row, segment, segment_block) token of each unpacked place.
      used: the same shape; whether the place holds a token of its segment.
      place: (row, length) unpacked place, segment * segment_block + offset, of each token.
      packed: the same shape; whether the token belongs to a segment.
    """

    index: jax.Array
    used: jax.Array
    place: jax.Array
    packed: jax.Array

    @classmethod
    def of(cls, tree: TokenTree, length: int) -> _Layout:
        start, size = tree.segments[..., 2], tree.segments[..., 3]
        own, tokens = jnp.arange(tree.segment_block), jnp.arange(length)
        find = functools.partial(jnp.searchsorted, side="right")
        segment = jax.vmap(lambda starts: find(starts, tokens) - 1)(start)
        offset = tokens - jnp.take_along_axis(start, segment, axis=1)
        packed = offset < jnp.take_along_axis(size, segment, axis=1)
        return cls(
            index=jnp.minimum(start[..., None] + own, length - 1),
            used=own < size[..., None],
            place=segment * tree.segment_block + jnp.where(packed, offset, 0),
            packed=packed,
        )


# Unpacking and repacking are each other's transpose. Saying so keeps the backward pass to
# gathers, where automatic differentiation would emit scatters.
@jax.custom_vjp
def _unpack(rows: jax.Array, layout: _Layout) -> jax.Array:
    """(row, length, ...) to (row, segment, segment_block, ...), zero where unused."""
    values = jax.vmap(lambda x, index: x[index])(rows, layout.index)
    return jnp.where(layout.used[..., None, None], values, 0)


@jax.custom_vjp
def _repack(unpacked: jax.Array, layout: _Layout) -> jax.Array:
    """(row, segment, segment_block, ...) to (row, length, ...), zero outside segments."""
    flat = unpacked.reshape(unpacked.shape[0], -1, *unpacked.shape[3:])
    values = jax.vmap(lambda x, place: x[place])(flat, layout.place)
    return jnp.where(layout.packed[..., None, None], values, 0)


_unpack.defvjp(
    lambda rows, layout: (_unpack(rows, layout), layout),
    lambda layout, cotangent: (_repack(cotangent, layout), None),
)
_repack.defvjp(
    lambda unpacked, layout: (_repack(unpacked, layout), layout),
    lambda layout, cotangent: (_unpack(cotangent, layout), None),
)


def _prompt_part(unpacked: jax.Array, tree: TokenTree) -> jax.Array:
    """For every segment its prompt's (row, segment, prompt_block, kv_heads, head_dim)."""
    # A one-hot product instead of a gather, again for the sake of its transpose.
    prompt_start, prompt_length, start, _ = jnp.moveaxis(tree.segments, -1, 0)
    chosen = (prompt_start[:, :, None] == start[:, None, :]) & (prompt_length > 0)[:, :, None]
    return jnp.einsum(
        "rsp,rpnhd->rsnhd", chosen.astype(unpacked.dtype), unpacked[:, :, : tree.prompt_block]
    )
