"""Token trees: several responses that share one prompt in a packed row, and who sees whom.

A packed row holds [prompt | response | response | ...]. Query i may see key j iff

    j <= i < visible_until[j]

where ``visible_until`` is the end of the example for prompt keys and the end of the response for
response keys. With ``visible_until`` beyond the row everywhere this is plain causal attention.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Int, Int32


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["visible_until", "segments", "positions", "key_positions", "slides", "layer"],
    meta_fields=["prompt_block", "segment_block", "window"],
)
@dataclasses.dataclass(frozen=True)
class TokenTree:
    """Who sees whom in packed rows.

    Attributes:
      visible_until: (row, length) int32, see the module docstring.
      segments: (row, segment, 4) int32: prompt start, prompt length, start and length of every
        prompt (whose own prompt length is 0) and response, in the order of their starts; unused
        ones have start = length of the row and length 0. None: only computations that read
        `visible_until`.
      prompt_block, segment_block: at least the longest prompt length and length in `segments`.
      window: a query sees only keys less than so many positions before it, a prompt's end among
        them for a response's beginning; None has no such limit.
      positions: (row, length) int32 position of each token in [prompt | response]; where there is
        a window or a cache.
      key_positions: (row, key) int32 positions of the keys in a cache, see `models.kv_cache`, for
        rows of one token; None where rows see themselves alone.
      slides: () bool, whether the layer that asks has the window, where only some have; None where
        all have.
      layer: () int32, the place of the layer that asks in the cache; None without one.
    """

    visible_until: Int32[ArrayLike, "row length"]
    segments: Int32[ArrayLike, "row segment 4"] | None = None
    prompt_block: int = 0
    segment_block: int = 0
    window: int | None = None
    positions: Int32[ArrayLike, "row length"] | None = None
    key_positions: Int32[ArrayLike, "row key"] | None = None
    slides: Bool[Array, ""] | None = None
    layer: Int32[Array, ""] | None = None

    @property
    def reach(self) -> int | jax.Array | None:
        """Returns the window, a number beyond all rows in a layer without it; None without any."""
        if self.window is None or self.slides is None:
            return self.window
        return jnp.where(self.slides, self.window, jnp.iinfo(jnp.int32).max)

    def tokens(self) -> Bool[Array, "row length"]:
        """Returns (row, length) bool, False where nothing is packed; by the segments."""
        index = jnp.arange(self.visible_until.shape[1])
        if self.segments is None:
            return jnp.ones(self.visible_until.shape, bool)
        start, size = self.segments[..., 2, None], self.segments[..., 3, None]
        return jnp.any((index >= start) & (index < start + size), axis=1)


def causal_tree(batch: int, length: int) -> TokenTree:
    """The tree of plain causal attention: one segment a row, without a prompt."""
    segments = jnp.broadcast_to(jnp.array([0, 0, 0, length], jnp.int32), (batch, 1, 4))
    return TokenTree(jnp.full((batch, length), length, jnp.int32), segments, 0, length)


def visibility(
    tree: TokenTree, query_start: int | Int[Array, ""], queries: int
) -> Bool[Array, "row query length"]:
    """Boolean (row, query, key) mask for `queries` tokens from `query_start` on.

    Queries beyond the row see what its last token does, or nothing.
    """
    keys = tree.visible_until.shape[-1]
    i = query_start + jnp.arange(queries)[:, None]
    j = jnp.arange(keys)[None, :]
    mask = (j <= i) & (i < tree.visible_until[:, None, :])
    if tree.window is None:
        return mask
    at = jnp.take(tree.positions, i[:, 0], axis=1, mode="clip")[..., None]
    return mask & (at - tree.positions[:, None, :] < tree.reach)
