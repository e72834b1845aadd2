"""Near-duplicates of texts.

Two texts are alike by rapidfuzz's token-sort ratio: 1 - (insertions and deletions) / (both lengths)
of their words, lower-case and sorted. Above ten thousand texts it is computed for candidates alone,
which share a band of MinHashes of their word triples (datasketch).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

MANY = 10_000
"""Texts above which candidates are looked up instead of compared one by one."""
_PERMUTATIONS = 128
_SHINGLE = 3  # words
# Jaccard similarity of triples that near-duplicates reach: one changed word breaks three of them.
_CANDIDATE = 0.5


class TextIndex:
    """Texts by key, and which of them is like another one."""

    def __init__(self, alike: float, many: int = MANY) -> None:
        """
        Args:
          alike: similarity in [0, 1] from which two texts are near-duplicates.
          many: texts above which candidates are looked up.
        """
        self._alike, self._many = alike, many
        self._texts: dict[object, str] = {}
        self._hashes: MinHashLSH | None = None

    def add(self, key: object, text: str) -> None:
        """Adds a text, in place of a former one of the same key."""
        if self._hashes is not None and key in self._texts:
            self._hashes.remove(key)
        self._texts[key] = normalised(text)
        if self._hashes is not None:
            self._hashes.insert(key, _minhash(self._texts[key]))
        elif len(self._texts) > self._many:
            self._hashes = _index(self._texts)

    def find(self, text: str, besides: object = None) -> object | None:
        """Returns the key of a near-duplicate, other than `besides`; None where there is none."""
        text = normalised(text)
        keys = list(self._texts)
        if self._hashes is not None:
            candidates = set(self._hashes.query(_minhash(text)))
            # In the order in which they were added, as sets have another one in each process.
            keys = [key for key in keys if key in candidates]
        ratio_of, best, found = similarity(), self._alike, None
        for key in keys:
            # What can't reach the cut-off is 0, which is known long before the end of a text.
            ratio = ratio_of(text, self._texts[key], score_cutoff=best)
            if ratio >= best and key != besides:
                best, found = ratio, key
        return found


def normalised(text: str) -> str:
    """Returns the words of a text, lower-case and sorted."""
    return " ".join(sorted(re.findall(r"\w+", text.casefold())))


def alike(first: str, second: str) -> float:
    """Returns the similarity of two texts, in [0, 1]."""
    return similarity()(normalised(first), normalised(second))


@functools.cache
def similarity() -> Callable[..., float]:
    """Returns the similarity of normalised texts."""
    from rapidfuzz.distance import Indel

    return Indel.normalized_similarity


def _minhash(text: str) -> MinHash:
    from datasketch import MinHash

    # Of sorted words, triples of neighbours are a set that the order of the words leaves alone.
    words = text.split()
    triples = {" ".join(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - 2))}
    found = MinHash(num_perm=_PERMUTATIONS)
    found.update_batch([triple.encode() for triple in triples])
    return found


def _index(texts: dict[object, str]) -> MinHashLSH:
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=_CANDIDATE, num_perm=_PERMUTATIONS)
    for key, text in texts.items():
        index.insert(key, _minhash(text))
    return index
