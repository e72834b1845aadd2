"""Short digests of what goes into a run, to tell whether two are the same."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from dignified_jax.data import PreferenceRow, TokenizedExample
from dignified_jax.models import partition


def of_text(*parts: str) -> str:
    """Returns that of some strings in order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def of_rows(rows: Iterable[PreferenceRow]) -> str:
    """Returns that of what a model sees of rows, in order."""
    digest = RowsDigest()
    for row in rows:
        digest.add(row)
    return digest.value()


def of_examples(examples: Iterable[TokenizedExample]) -> str:
    """Returns that of the token ids of examples, in order."""
    digest = ExamplesDigest()
    for example in examples:
        digest.add(example)
    return digest.value()


class RowsDigest:
    """`of_rows`, row by row."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"[")
        self._between = b""

    def add(self, row: PreferenceRow) -> None:
        """Adds the next row."""
        text = json.dumps([row.prompt, row.golden, dict(row.rejects)])
        # As the whole list would be written by `of_text`.
        self._digest.update(self._between + json.dumps(text).encode())
        self._between = b", "

    def value(self) -> str:
        """Returns the digest of the rows so far."""
        digest = self._digest.copy()
        digest.update(b"]")
        return digest.hexdigest()[:16]


class ExamplesDigest:
    """`of_examples`, example by example."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, example: TokenizedExample) -> None:
        """Adds the next example."""
        for ids in (example.prompt, *example.responses):
            self._digest.update(b"none" if ids is None else len(ids).to_bytes(8, "little"))
            self._digest.update(b"" if ids is None else np.asarray(ids, "<i4").tobytes())

    def value(self) -> str:
        """Returns the digest of the examples so far."""
        return self._digest.hexdigest()[:16]


def of_tokenizer(tokenizer: Any) -> str:
    """Returns that of a tokenizer: its whole pipeline, or the vocabulary of a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return of_text(backend.to_str())
    return of_text(type(tokenizer).__name__, json.dumps(sorted(tokenizer.get_vocab().items())))


def of_arrays(tree: PyTree) -> str:
    """Returns that of the bits of a pytree's arrays, where they lie; the same for any sharding."""
    if not jax.tree.leaves(tree):
        return of_text()
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
