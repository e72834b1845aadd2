"""Products of many rows, each with the matrix of its group, whatever the sizes of the groups.

Rows are laid out group after group, each group filled up to whole blocks, so that a block meets one
matrix. On TPUs blocks are one row, and `jax.lax.ragged_dot` is an instruction. Elsewhere XLA
would give every group all rows, zeros where they are not its own; here it is a batch of
products of blocks instead, each with a copy of its group's matrix.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

# Rows of a block: about half of a group, but no more or less than these.
LEAST, MOST = 8, 128


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["place", "choice", "of_block", "sizes"],
    meta_fields=["block"],
)
@dataclasses.dataclass(frozen=True)
class Groups:
    """Where rows lie among the groups, both ways. Choices are rows in their first order.

    Attributes:
      place: (choice,) int32 place of each; the number of places for one of no group.
      choice: (place,) int32 choice that lies there; the number of choices for none.
      of_block: (block,) int32 group of each block; any group for a block that holds nothing.
      sizes: (group,) int32 places of each, a multiple of `block`.
      block: places of a block.
    """

    place: jax.Array
    choice: jax.Array
    of_block: jax.Array
    sizes: jax.Array
    block: int

    @classmethod
    def of(cls, group: jax.Array, count: int, block: int | None = None) -> Groups:
        """Lays out rows.

        Args:
          group: (choice,) int32 group of each row; `count` for none.
          count: number of groups.
          block: places of a block; None for what suits the platform.
        """
        choices = group.size
        block = block_size(choices, count) if block is None else block
        blocks = block_count(choices, count, block)
        order = jnp.argsort(group, stable=True)
        held = jnp.bincount(group, length=count)
        needed = -(-held // block)
        ends = jnp.cumsum(needed)
        by_group = jnp.minimum(group[order], count - 1)
        within = jnp.arange(choices) - (jnp.cumsum(held) - held)[by_group]
        place = (ends - needed)[by_group] * block + within
        place = jnp.where(group[order] < count, place, blocks * block)
        nothing = jnp.full(blocks * block, choices)
        return cls(
            place=jnp.zeros(choices, place.dtype).at[order].set(place),
            choice=nothing.at[place].set(order, mode="drop"),
            of_block=jnp.minimum(
                jnp.searchsorted(ends, jnp.arange(blocks), side="right"), count - 1
            ),
            sizes=needed * block,
            block=block,
        )


def block_size(choices: int, count: int) -> int:
    """Returns places of a block for so many choices and groups on this platform."""
    if jax.default_backend() == "tpu":
        return 1
    return min(max(choices // (2 * count), LEAST), MOST)


def block_count(choices: int, count: int, block: int) -> int:
    """Returns the most blocks that so many choices in so many groups can fill."""
    return (choices + count * (block - 1)) // block


# Transposes are written out as gathers, where automatic differentiation would emit scatters.
@jax.custom_vjp
def to_groups(x: jax.Array, groups: Groups) -> jax.Array:
    """(token, ...) to (place, ...), zero where there is none; each token has as many choices."""
    per_token = groups.place.size // x.shape[0]
    return jnp.take(x, groups.choice // per_token, axis=0, mode="fill", fill_value=0)


@jax.custom_vjp
def from_groups(rows: jax.Array, groups: Groups) -> jax.Array:
    """(place, ...) to (choice, ...), zero for those of no group."""
    return jnp.take(rows, groups.place, axis=0, mode="fill", fill_value=0)


def _to_groups_backward(
    saved: tuple[Groups, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    groups, like = saved
    by_choice = from_groups(cotangent, groups)
    by_token = by_choice.reshape(like.shape[0], -1, *cotangent.shape[1:])
    return by_token.astype(jnp.float32).sum(axis=1).astype(cotangent.dtype), None


to_groups.defvjp(
    # An empty array carries the number of tokens to the backward pass.
    lambda x, groups: (to_groups(x, groups), (groups, jnp.zeros((x.shape[0], 0)))),
    _to_groups_backward,
)
from_groups.defvjp(
    lambda rows, groups: (from_groups(rows, groups), groups),
    lambda groups, cotangent: (
        jnp.take(cotangent, groups.choice, axis=0, mode="fill", fill_value=0),
        None,
    ),
)


def grouped_product(rows: jax.Array, kernels: jax.Array, groups: Groups) -> jax.Array:
    """Product of each place with its group's kernel; zero where nothing lies.

    Args:
      rows: (place, in), zero where nothing lies.
      kernels: (group, in, out).
      groups: the layout.

    Returns:
      (place, out), in the rows' dtype, summed in float32.
    """
    if groups.block > 1:
        return _in_blocks(rows, kernels, groups)
    # What no group has lies behind, and nothing says what is computed there.
    inside = (jnp.arange(rows.shape[0]) < groups.sizes.sum())[:, None]
    rows = jnp.where(inside, rows, 0)
    return jnp.where(inside, jax.lax.ragged_dot(rows, kernels, groups.sizes), 0)


@jax.custom_vjp
def _in_blocks(rows: jax.Array, kernels: jax.Array, groups: Groups) -> jax.Array:
    return _blocks("bri,bio->bro", _split(rows, groups), kernels[groups.of_block]).reshape(
        rows.shape[0], -1
    )


def _in_blocks_backward(
    saved: tuple[jax.Array, jax.Array, Groups], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    rows, kernels, groups = saved
    gradient = _split(cotangent, groups)
    d_rows = _blocks("bro,bio->bri", gradient, kernels[groups.of_block]).reshape(rows.shape)
    d_kernels = jax.ops.segment_sum(
        _wide("bri,bro->bio", _split(rows, groups), gradient),
        groups.of_block,
        num_segments=kernels.shape[0],
        indices_are_sorted=True,
    )
    return d_rows, d_kernels.astype(kernels.dtype), None


# The copies of matrices are made again in the backward pass, not kept.
_in_blocks.defvjp(
    lambda rows, kernels, groups: (_in_blocks(rows, kernels, groups), (rows, kernels, groups)),
    _in_blocks_backward,
)


def _split(rows: jax.Array, groups: Groups) -> jax.Array:
    """(place, width) to (block, place of the block, width)."""
    return rows.reshape(-1, groups.block, rows.shape[-1])


def _blocks(axes: str, rows: jax.Array, kernels: jax.Array) -> jax.Array:
    return _wide(axes, rows, kernels).astype(rows.dtype)


def _wide(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """Product, summed and left in float32 or wider."""
    return jnp.einsum(axes, x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))
