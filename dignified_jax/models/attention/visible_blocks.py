"""Which blocks of queries and keys of a packed row hold visible pairs, and their masks.

Only a block of which some pairs are visible and some are not needs a mask, and in a row of n
blocks no more than 5 n are such. Of query block r it is the one on the diagonal. Keys before r's
start are visible to r only within the example that goes on across that start: its prompt, and the
response that goes on across it, if any. Up to three key blocks hold a boundary of those, where the
example, its first response or that response begins. Every other lies in one prompt or response
and is visible until one and the same query: it needs a mask in the query block where that
is, once for each key block. So masks take memory linear in the length of a row.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

# Masks that are held for each block of a row.
MASKS_PER_BLOCK = 5


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["outer", "inner", "full", "count", "mask", "masks"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class VisibleBlocks:
    """The blocks of a row that hold a visible pair, in the order of outer, then inner blocks.

    With n blocks in the row, of size B:

    Attributes:
      outer, inner: (n (n + 1) / 2,) int32 block indices, of queries and keys or of keys and
        queries; -1 beyond `count`.
      full: (n (n + 1) / 2,) bool, whether all pairs of the block are visible.
      count: () int32, how many there are.
      mask: (n (n + 1) / 2,) int32 index in `masks` of the block itself or, where it is full, of
        the next that is not, so that its mask can be fetched ahead.
      masks: (5 n, B, B) int8, 1 where visible, outer by inner; anything where unused.
    """

    outer: jax.Array
    inner: jax.Array
    full: jax.Array
    count: jax.Array
    mask: jax.Array
    masks: jax.Array

    @classmethod
    def of(cls, visible_until: jax.Array, block: int, *, keys_outer: bool) -> VisibleBlocks:
        """Blocks of a row (length,) int32, a multiple of `block`, that `masks_suffice` accepts.

        Every token sees itself.
        """
        visible, full = _states(visible_until, block)
        if keys_outer:
            visible, full = visible.T, full.T
        n = visible.shape[0]
        listed, held = n * (n + 1) // 2, MASKS_PER_BLOCK * n

        outer, inner = _places(visible, listed)
        count = visible.sum(dtype=jnp.int32)
        full_there = full[outer, inner] & (jnp.arange(listed) < count)
        partial = ~full_there & (jnp.arange(listed) < count)
        before = jnp.cumsum(partial, dtype=jnp.int32) - partial

        inside = jnp.arange(block)
        rows, columns = _places(visible & ~full, held)
        queries, keys = (columns, rows) if keys_outer else (rows, columns)
        until = visible_until.reshape(n, block)[keys][:, None, :]
        i = (queries[:, None] * block + inside)[:, :, None]
        j = (keys[:, None] * block + inside)[:, None, :]
        masks = ((j <= i) & (i < until)).astype(jnp.int8)
        return cls(
            outer=outer,
            inner=inner,
            full=full_there,
            count=count,
            mask=jnp.minimum(before, held - 1),
            masks=masks.mT if keys_outer else masks,
        )


def masks_suffice(visible_until: jax.Array, block: int) -> jax.Array:
    """(row,) bool of (row, length) int32: whether the masks of each row can be held.

    True of all token trees, see the module docstring; not of whatever else such an array can say.
    """
    visible, full = _states(visible_until, block)
    needed = (visible & ~full).sum(axis=(-1, -2))
    return needed <= MASKS_PER_BLOCK * visible.shape[-1]


def _states(visible_until: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """(..., query block, key block) bool: whether any pair is visible, and whether all are."""
    until = visible_until.reshape(*visible_until.shape[:-1], -1, block)
    last, first = until.max(axis=-1)[..., None, :], until.min(axis=-1)[..., None, :]
    key = jnp.arange(until.shape[-2])
    query = key[:, None]
    visible = (key <= query) & (last > query * block)
    return visible, (key < query) & (first >= (query + 1) * block)


def _places(where: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The first `size` places of a matrix that are True, and -1."""
    rows, columns = jnp.nonzero(where, size=size, fill_value=-1)
    return rows.astype(jnp.int32), columns.astype(jnp.int32)
