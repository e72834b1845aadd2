"""Random draws that a row keeps: each depends on the seed and on what it is for, nothing else.

Rows that are added later, or made again after a kill, change no draw of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def number(*what: object) -> float:
    """Returns a number in [0, 1) that `what` determines."""
    text = "\0".join(map(str, what))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def choose(names: Sequence[str], *what: object) -> str:
    """Returns one of the names, each as likely.

    The highest of a number for each name wins, so that a name which is added or taken away changes
    the choices that it wins alone.
    """
    return max(names, key=lambda name: number(*what, name))


def shuffled(values: Sequence[T], *what: object) -> list[T]:
    """Returns the values in an order that `what` determines."""
    order = sorted(range(len(values)), key=lambda at: number(*what, at))
    return [values[at] for at in order]
