"""Joins pairs of equal prompt and chosen into rows of several rejects, in little memory."""

import array
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dignified_jax.console.waiting import ShowCount, counting, uncounted
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import plain_text
from dignified_jax.data.store.texts import Spilled

_DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])


def join(rows: Sequence[PreferenceRow], count: ShowCount = uncounted) -> Sequence[PreferenceRow]:
    """Returns rows of several rejects, in the order of the first pair of each.

    The n-th pair of a prompt, chosen and dimension goes into the n-th row of that prompt and
    chosen: pairs that repeat a dimension stay, in rows of their own. Pairs that are far apart wait
    in memory for each other.

    Args:
      rows: of one reject each.
      count: told how many of them have been seen, twice.
    """
    total = 2 * len(rows)
    first, second = (counting(rows, count, total, begun) for begun in (0, len(rows)))
    return Spilled(_joined_in_order(second, _row_of_each(first)))


def _row_of_each(rows: Iterable[PreferenceRow]) -> np.ndarray:
    """(pair,) number of the row that each pair goes into."""
    digests, indices = bytearray(), array.array("q")
    for row in rows:
        digests += _digest(row)
        indices.append(row.dimensions.index(*row.rejects))
    dimensions = np.array(indices, np.int64)
    key = _numbered(np.frombuffer(digests, _DIGEST))
    turn = _occurrences(key * (dimensions.max(initial=0) + 1) + dimensions)
    return _numbered(key * (turn.max(initial=0) + 1) + turn)


def _digest(row: PreferenceRow) -> bytes:
    kind = "text" if isinstance(row.prompt, str) else "turns"
    parts = (kind, plain_text(row.prompt), row.golden)
    digest = hashlib.blake2b(digest_size=_DIGEST.itemsize)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def _numbered(values: np.ndarray) -> np.ndarray:
    """The values as numbers from 0, in the order of their first places."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


def _occurrences(values: np.ndarray) -> np.ndarray:
    """How often each value stood before."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    starts = np.flatnonzero(np.diff(sorted_values, prepend=-1))
    lengths = np.diff(starts, append=len(values))
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return found


def _joined_in_order(
    rows: Iterable[PreferenceRow], row_of_each: np.ndarray
) -> Iterator[PreferenceRow]:
    sizes = np.bincount(row_of_each).tolist()
    waiting: dict[int, list[PreferenceRow]] = {}
    following = 0
    for row, number in zip(rows, row_of_each.tolist(), strict=True):
        waiting.setdefault(number, []).append(row)
        while following in waiting and len(waiting[following]) == sizes[following]:
            yield _joined(waiting.pop(following))
            following += 1


def _joined(rows: Sequence[PreferenceRow]) -> PreferenceRow:
    if len(rows) == 1:
        return rows[0]
    rejects = {name: text for row in rows for name, text in row.rejects.items()}
    pairs = {name: number for row in rows for name, number in row.pairs.items()}
    order = [name for name in rows[0].dimensions if name in rejects]
    return dataclasses.replace(
        rows[0],
        rejects={name: rejects[name] for name in order},
        pairs={name: pairs[name] for name in order},
    )
