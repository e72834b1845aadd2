"""Token-tree attention on TPUs: the splash kernel of tokamax, with a mask known at run time.

Splash visits the blocks of queries and keys that hold a visible pair, and scores exist a block
at a time. Which blocks those are, and the masks of those visible in part, are `VisibleBlocks`:
5 * length * BLOCK bytes of one row at a time for the forward pass, and as many of every row for
the backward pass. tokamax comes with the extra ``tpu``.
"""

from __future__ import annotations

import importlib.util
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from dignified_jax.models.attention.visible_blocks import VisibleBlocks, masks_suffice

# Queries and keys of a block, a multiple of the 128 lanes.
BLOCK = 256


def tokamax_installed() -> bool:
    """Says whether the extra ``tpu`` is installed."""
    return importlib.util.find_spec("tokamax") is not None


def splash_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    visible_until: Int[ArrayLike, "row length"],
) -> Float[Array, "row length heads head_dim"]:
    """Scaled dot-product attention under the token-tree mask; softmax in float32.

    Args:
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim); kv_heads divides heads.
      visible_until: (row, length) int32; query i sees key j iff j <= i < visible_until[j]. Every
        token sees itself.

    Returns:
      (row, length, heads, head_dim), in the query's dtype. NaN in a row that is no token tree,
      where it needs more masks than those do.
    """
    length = query.shape[1]
    whole = -(-length // BLOCK) * BLOCK
    query = query / math.sqrt(query.shape[-1])

    def heads_first(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), (0, whole - length), (0, 0), (0, 0)))
        return padded.swapaxes(1, 2)

    # The kernel divides by the sum of a query's weights: padding has to see something.
    itself = jnp.broadcast_to(jnp.arange(length, whole) + 1, (len(query), whole - length))
    until = jnp.concatenate([visible_until, itself.astype(visible_until.dtype)], axis=1)
    mixed = jax.lax.map(_attend_row, (*map(heads_first, (query, key, value)), until))
    valid = jnp.where(masks_suffice(until, BLOCK), 1, jnp.nan).astype(mixed.dtype)
    return (mixed.swapaxes(1, 2) * valid[:, None, None, None])[:, :length]


def _attend_row(inputs: tuple[jax.Array, ...]) -> jax.Array:
    """(heads, length, head_dim) of one row."""
    # Without a public name yet; its own maker of kernels wants the whole mask.
    from tokamax._src.ops.experimental.tpu.splash_attention import splash_attention_kernel as splash

    def info(*, keys_outer: bool) -> splash.MaskInfo:
        blocks = VisibleBlocks.of(visible_until, BLOCK, keys_outer=keys_outer)
        return splash.MaskInfo(
            mask_next=blocks.mask,
            active_rows=blocks.outer,
            active_cols=blocks.inner,
            block_mask=1 + blocks.full.astype(jnp.int32),
            num_active_blocks=blocks.count[None],
            partial_mask_blocks=blocks.masks,
            q_sequence=None,
        )

    query, key, value, visible_until = inputs
    kernel = splash.SplashAttentionKernel(
        info(keys_outer=False),
        info(keys_outer=True),
        config=splash.SplashConfig(
            block_q=BLOCK,
            block_kv=BLOCK,
            block_q_dkv=BLOCK,
            block_kv_dkv=BLOCK,
            dq_reduction_steps=3,  # the one that takes lists of blocks made at run time
        ),
        is_mqa=False,
        save_residuals=False,
        mask_value=splash.base.DEFAULT_MASK_VALUE,
        mask_function=None,
        fwd_mask_sparsity=1.0,
        dkv_mask_sparsity=1.0,
    )
    return kernel(query, key, value)
