"""Token-tree attention on TPUs: the splash kernel of tokamax, with a mask known at run time.

Splash visits the blocks of queries and keys that hold a visible pair, and scores exist a block
at a time. Its mask is an int8 array (length, length) shared by all heads, another for the
backward pass, made a row at a time: 1 GiB each at 32,768 tokens. tokamax comes with the extra
``tpu``.
"""

from __future__ import annotations

import importlib.util
import math

import jax
import jax.numpy as jnp

from dignified_jax.models.token_tree import visibility

# Queries and keys of a block, a multiple of the 128 lanes.
BLOCK = 256


def tokamax_installed() -> bool:
    """Whether the extra ``tpu`` is there."""
    return importlib.util.find_spec("tokamax") is not None


def splash_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, visible_until: jax.Array
) -> jax.Array:
    """Scaled dot-product attention under the token-tree mask; softmax in float32.

    Args:
      query: (row, length, heads, head_dim).
      key, value: (row, length, kv_heads, head_dim); kv_heads divides heads.
      visible_until: (row, length) int32; query i sees key j iff j <= i < visible_until[j]. Every
        token sees itself.

    Returns:
      (row, length, heads, head_dim), in the query's dtype.
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
    return mixed.swapaxes(1, 2)[:, :length]


def _attend_row(inputs: tuple[jax.Array, ...]) -> jax.Array:
    """(heads, length, head_dim) of one row."""
    # Without a public name yet.
    from tokamax._src.ops.experimental.tpu.splash_attention import splash_attention_kernel as splash

    query, key, value, visible_until = inputs
    mask = visibility(visible_until[None], 0, visible_until.size)[0]
    config = splash.SplashConfig(
        block_q=BLOCK, block_kv=BLOCK, block_q_dkv=BLOCK, block_kv_dkv=BLOCK
    )
    return splash.make_dynamic_splash_mha(mask, config=config)(query, key, value)
