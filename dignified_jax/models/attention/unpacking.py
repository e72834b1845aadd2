"""Packed rows to segments and back: each response, alone or behind a copy of its prompt.

The transposes of both ways are written out as gathers and one small product, where automatic
differentiation would emit scatters.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from dignified_jax.models.attention.token_tree import TokenTree


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["index", "lead", "size", "place", "offset", "packed", "same_prompt"],
    meta_fields=["prompt_block"],
)
@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each token of a row stands among the unpacked segments, both ways.

    Attributes:
      index: (row, segment, block) token of each unpacked place.
      lead: (row, segment, 1) prompt tokens before the segment's own.
      size: (row, segment, 1) own tokens.
      place: (row, length) unpacked place, segment * block + position, of each token.
      offset: (row, length) position of each token in its segment.
      packed: (row, length) whether the token belongs to a segment.
      same_prompt: (row, segment, prompt) whether a segment stands behind that segment's tokens.
      prompt_block: at least the largest lead; 0 when segments stand alone.
    """

    index: jax.Array
    lead: jax.Array
    size: jax.Array
    place: jax.Array
    offset: jax.Array
    packed: jax.Array
    same_prompt: jax.Array
    prompt_block: int

    @classmethod
    def of(cls, tree: TokenTree, *, with_prompt: bool) -> Layout:
        """Segments of `tree` in blocks that hold each, with its prompt or without."""
        length = tree.visible_until.shape[1]
        prompt_start, prompt, start, size = jnp.moveaxis(tree.segments, -1, 0)
        lead = prompt if with_prompt else jnp.zeros_like(prompt)
        prompt_block = tree.prompt_block if with_prompt else 0
        block = min(prompt_block + tree.segment_block, length)  # an example fits into a row

        within = jnp.arange(block)
        own = start[..., None] + within - lead[..., None]
        before = prompt_start[..., None] + within
        index = jnp.where(within < lead[..., None], before, own)

        tokens = jnp.arange(length)
        find = functools.partial(jnp.searchsorted, side="right")
        segment = jax.vmap(lambda starts: find(starts, tokens) - 1)(start)
        of_token = functools.partial(jnp.take_along_axis, indices=segment, axis=1)
        offset = tokens - of_token(start)
        packed = offset < of_token(size)
        offset = jnp.where(packed, offset, 0)
        return cls(
            index=jnp.clip(index, 0, length - 1),
            lead=lead[..., None],
            size=size[..., None],
            place=segment * block + of_token(lead) + offset,
            offset=offset,
            packed=packed,
            same_prompt=(prompt_start[:, :, None] == start[:, None, :]) & (lead > 0)[:, :, None],
            prompt_block=prompt_block,
        )

    @property
    def block(self) -> int:
        """Places of each segment."""
        return self.index.shape[-1]

    @property
    def lengths(self) -> jax.Array:
        """(row, segment) tokens of each, its prompt's included; 0 in unused ones."""
        return (self.lead + self.size)[..., 0]


@jax.custom_vjp
def unpack(rows: jax.Array, layout: Layout) -> jax.Array:
    """(row, length, ...) to (row, segment, block, ...), zero where unused."""
    used = jnp.arange(layout.block) < layout.lead + layout.size
    return _take(rows, layout.index, used)


@jax.custom_vjp
def repack(unpacked: jax.Array, layout: Layout) -> jax.Array:
    """(row, segment, block, ...) to (row, length, ...): own tokens; zero outside segments."""
    return _take(_flat(unpacked), layout.place, layout.packed)


def _unpack_backward(layout: Layout, cotangent: jax.Array) -> tuple[jax.Array, None]:
    own = repack(cotangent, layout)
    if not layout.prompt_block:
        return own, None
    # Prompt tokens stand before every response of theirs as well.
    within = jnp.arange(min(layout.prompt_block, layout.block))
    copies = _where(within < layout.lead, cotangent[:, :, : within.size])
    same = layout.same_prompt.astype(cotangent.dtype)
    sums = jnp.einsum("rsp,rsn...->rpn...", same, copies, precision="highest")
    segment = (layout.place - layout.offset) // layout.block
    inside = layout.packed & (layout.offset < within.size)
    place = segment * within.size + jnp.where(inside, layout.offset, 0)
    return own + _take(_flat(sums), place, inside), None


def _repack_backward(layout: Layout, cotangent: jax.Array) -> tuple[jax.Array, None]:
    within = jnp.arange(layout.block)
    own = (within >= layout.lead) & (within < layout.lead + layout.size)
    return _take(cotangent, layout.index, own), None


unpack.defvjp(lambda rows, layout: (unpack(rows, layout), layout), _unpack_backward)
repack.defvjp(lambda unpacked, layout: (repack(unpacked, layout), layout), _repack_backward)


def _flat(unpacked: jax.Array) -> jax.Array:
    return unpacked.reshape(unpacked.shape[0], -1, *unpacked.shape[3:])


def _take(rows: jax.Array, index: jax.Array, valid: jax.Array) -> jax.Array:
    """rows[row, index[row, ...]], zero where not `valid`."""
    return _where(valid, jax.vmap(lambda x, i: x[i])(rows, index))


def _where(valid: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.where(valid.reshape(*valid.shape, *[1] * (values.ndim - valid.ndim)), values, 0)
