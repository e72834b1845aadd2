"""Digest of the bits of arrays."""

from __future__ import annotations

import hashlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from dignified_jax.models import partition


def of_arrays(tree: PyTree) -> str:
    """Returns that of the bits of a pytree's arrays, where they lie; the same for any sharding."""
    if not jax.tree.leaves(tree):
        return hashlib.sha256(b"[]").hexdigest()[:16]
    return "".join(f"{word:08x}" for word in np.asarray(_hash(tree)))


@jax.jit
def _hash(tree: PyTree) -> jax.Array:
    """(2,) uint32: sums of mixed words, so that neither order nor sharding of the sum matters."""
    total = jnp.zeros(2, jnp.uint32)
    for path, leaf in jax.tree.leaves_with_path(tree):
        seed = zlib.crc32(f"{partition.path_name(path)} {leaf.shape} {leaf.dtype}".encode())
        words = _words(leaf)
        place = jnp.zeros(leaf.shape, jnp.uint32)
        for axis, size in enumerate(leaf.shape):
            place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
        for number, salt in enumerate((0x9E3779B9, 0x85EBCA6B)):
            mixed = _mix(words ^ _mix(place + np.uint32((seed + salt) % 2**32)))
            total = total.at[number].add(mixed.sum(dtype=jnp.uint32))
    return total


def _words(leaf: jax.Array) -> jax.Array:
    """The leaf's bits as uint32, of its own shape."""
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    if leaf.dtype == jnp.bool_:
        return leaf.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)


def _mix(word: jax.Array) -> jax.Array:
    """A bijection of uint32 whose every output bit depends on every input bit (murmur3's)."""
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
