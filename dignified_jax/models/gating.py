"""The gated linear unit of feed-forward networks (Shazeer, "GLU Variants", 2020)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax


# The backward pass computes it again from its arguments, which are kept in any case, rather than
# keep three more arrays of the same size.
@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=2)
def gated(
    gate: jax.Array, up: jax.Array, activation: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Returns activation(gate) * up; SwiGLU and GeGLU by their activation."""
    return activation(gate) * up
