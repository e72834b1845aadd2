"""Token ids that the first of several processes has, in all of them."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dignified_jax.data.store.arrays import Arrays
from dignified_jax.data.store.cache import Cache, Entry

_PIECE = 1 << 24  # bytes that are sent at a time
_LEAST_PIECE = 1 << 16  # lengths are rounded up to few sizes, each of which is compiled once


def on_all(here: bool) -> bool:
    """Says that something is so in every process; all of them call it."""
    return bool(np.all(multihost_utils.process_allgather(np.asarray(here))))


def spread(made: Mapping[str, tuple[str, Entry]], cache: Cache) -> dict[str, Entry]:
    """Returns the entries that the first process has, in all processes; all of them call it.

    A process that finds one in its cache, as where they share its directory, takes it from there;
    to the others the first one sends it.

    Args:
      made: name -> (key, entry), of the first process; "" is the key of one that is not kept.
      cache: this process's.
    """
    first = jax.process_index() == 0
    entries: dict[str, Entry] = {}
    for name, key in same({name: key for name, (key, _) in made.items()}).items():
        here = made[name][1] if first else cache.find(key) if key else None
        if not on_all(here is not None):
            notes, parts = _sent(here if first else None)
            if here is None:
                here = cache.make(key, lambda arrays, n=notes, p=parts: _filled(arrays, n, p))
            collections.deque(parts, maxlen=0)  # all take part until the last one
        entries[name] = here
    return entries


def _filled(
    arrays: Arrays, notes: Mapping[str, Any], parts: Iterator[Mapping[str, np.ndarray]]
) -> Mapping[str, Any]:
    for part in parts:
        arrays.append(part)
    return notes


def _sent(entry: Entry | None) -> tuple[dict[str, Any], Iterator[Mapping[str, np.ndarray]]]:
    """The notes of the first process's entry, and its arrays part by part."""
    told = entry and {
        "notes": dict(entry.notes),
        "arrays": {name: [each.dtype.str, each.shape] for name, each in entry.arrays.items()},
    }
    described = same(told)

    def parts() -> Iterator[Mapping[str, np.ndarray]]:
        for name, (dtype, (length, *width)) in described["arrays"].items():
            of_row = np.dtype(dtype).itemsize * math.prod(width)
            together = max(1, _PIECE // of_row)
            for start in range(0, length, together) or [0]:  # an empty array is one part
                count = min(together, length - start)
                own = entry and entry.arrays[name][start : start + count].tobytes()
                content = _of_first(own, count * of_row)
                yield {name: np.frombuffer(content, dtype).reshape(count, *width)}

    return described["notes"], parts()


def same(value: Any) -> Any:
    """Returns the first process's value, which JSON can write, on all; all of them call it."""
    content = json.dumps(value).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(content), np.int32)))
    return json.loads(_of_first(content if jax.process_index() == 0 else None, size))


def _of_first(content: bytes | None, size: int) -> bytes:
    """The first process's bytes on all, which know how many there are."""
    room = max(_LEAST_PIECE, 1 << (size - 1).bit_length()) if size else _LEAST_PIECE
    padded = np.zeros(room, np.uint8)
    if content is not None:
        padded[:size] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded))[:size].tobytes()
