"""Short digests of what goes into a run, to tell whether two are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from dignified_jax.data import PreferenceRow, TokenizedExample
from dignified_jax.data.tokenizer import tokenizer_digest as of_tokenizer
from dignified_jax.models.checkpoint.digest import of_arrays

__all__ = [
    "ExamplesDigest",
    "RowsDigest",
    "of_arrays",
    "of_examples",
    "of_rows",
    "of_text",
    "of_tokenizer",
]


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
