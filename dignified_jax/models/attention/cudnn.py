"""Token-tree attention on NVIDIA GPUs: cuDNN's flash attention over unpacked segments.

Every prompt and every [prompt | response] becomes a row of its own with plain causal attention,
which cuDNN computes in memory linear in their lengths, and without work beyond them. A mask
given to it would become a bias of (row, 1, length, length) instead.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dignified_jax.models.attention.token_tree import TokenTree
from dignified_jax.models.attention.unpacking import Layout, repack, unpack

# What cuDNN computes on every NVIDIA GPU since Ampere.
DTYPES = ("bfloat16", "float16")
MOST_WIDTH, WIDTH_UNIT = 128, 8


def cudnn_takes(dtype: jax.typing.DTypeLike, width: int) -> bool:
    """Says whether cuDNN has a kernel for this dtype and head width."""
    return jnp.dtype(dtype).name in DTYPES and width <= MOST_WIDTH and width % WIDTH_UNIT == 0


def flash_attention(
    query: Float[Array, "row length heads head_dim"],
    key: Float[Array, "row length kv_heads head_dim"],
    value: Float[Array, "row length kv_heads head_dim"],
    tree: TokenTree,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "row length heads head_dim"]:
    """Arguments as `attention.tree_attention`; `tree.segments` must be there.

    Args:
      implementation: of the causal attention; "xla" holds its scores, on any platform.

    Raises:
      ValueError: cuDNN does not take the dtype.
    """
    if implementation == "cudnn" and query.dtype.name not in DTYPES:
        raise ValueError(f"attention='cudnn' takes {' and '.join(DTYPES)}, found {query.dtype}")
    layout = Layout.of(tree, with_prompt=True)
    # No kernel says what it makes of a row without keys: an unused segment sees one, a zero.
    lengths = jnp.maximum(layout.lengths, 1).reshape(-1)
    query, key, value = (unpack(x, layout) for x in (query, key, value))
    mixed = jax.nn.dot_product_attention(
        *(x.reshape(-1, *x.shape[2:]) for x in (query, key, value)),
        is_causal=True,
        local_window_size=None if tree.window is None else (tree.window - 1, 0),
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation=implementation,
    )
    return repack(mixed.reshape(query.shape), layout)
