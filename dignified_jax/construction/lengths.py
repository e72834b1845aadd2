"""Lengths of golden replies and negatives: what "the longer one is golden" may tell, and no more.

A model that can tell the two apart by length learns length. So half of the negatives are asked to
be longer than their golden reply and half shorter; those that leave a dimension out of bounds are
asked for again on the other side, and rows that are left over are set aside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from dignified_jax.construction import draws
from dignified_jax.data.statistics import count_words

Lengths = Mapping[str, int]
"""Of one row: "golden" and each active dimension's negative -> length."""

MEASURES: Mapping[str, Callable[[Sequence[str]], list[int]]] = {
    "words": count_words,
    "characters": lambda texts: [len(text) for text in texts],
}
SIDES = (0.8, 1.25)
"""A negative's length that is asked for, as a multiple of golden's; the range from 1 to it."""


def margin(golden: int, negative: int) -> float:
    """Returns 1/2 where golden is longer, -1/2 where it is shorter, 0 for a tie."""
    return ((golden > negative) - (golden < negative)) / 2


def margins(row: Lengths) -> dict[str, float]:
    """Returns dimension -> `margin` of its pair."""
    return {name: margin(row["golden"], row[name]) for name in row if name != "golden"}


def excess(found: Sequence[float]) -> float:
    """Returns the pairs of a dimension that are too many on one side.

    With n pairs and accuracy a of "the longer one is golden" it is n (a - 1/2), less what is
    allowed; 0 within bounds, below 0 where golden replies are too often shorter.

    Args:
      found: `margin` of each pair.
    """
    return _beyond(sum(found), len(found))


def _beyond(total: float, pairs: int) -> float:
    return math.copysign(max(abs(total) - allowed(pairs), 0.0), total)


def allowed(pairs: int) -> float:
    """Returns how far the sum of margins may be off 0: an accuracy of 0.45 to 0.55, or one pair.

    Of very few pairs no accuracy but 0, 1/2 or 1 is to be had.
    """
    return max(0.05 * pairs, 0.5) + 1e-9


def wrong_side(
    rows: Mapping[int, Lengths], fresh: Sequence[int], dimensions: Sequence[str]
) -> list[tuple[int, str]]:
    """Returns which negatives to ask for again, on the other side, so that all is within bounds.

    Args:
      rows: id -> lengths, of all rows so far.
      fresh: ids of those rows that may change; the last ones change first.
      dimensions: in order.

    Returns:
      (id, dimension) of as few negatives as will do.
    """
    of_row = {row: margins(lengths) for row, lengths in rows.items()}
    found = []
    for dimension in dimensions:
        over = excess([own[dimension] for own in of_row.values() if dimension in own])
        for row in reversed(fresh):
            moved = of_row[row].get(dimension, 0.0)
            if over * moved > 0:
                found.append((row, dimension))
                over = math.copysign(max(abs(over) - 2 * abs(moved), 0.0), over)
    return found


def surplus(rows: Mapping[int, Lengths]) -> list[int]:
    """Returns ids of rows to set aside so that every dimension is within bounds.

    One row after another goes whose absence leaves the least in excess, until nothing is or it
    gets no better.
    """
    left, gone = {row: margins(lengths) for row, lengths in rows.items()}, []
    sums: dict[str, list[float]] = {}
    for own in left.values():
        for dimension, value in own.items():
            total = sums.setdefault(dimension, [0.0, 0])
            total[0], total[1] = total[0] + value, total[1] + 1

    def without(own: Mapping[str, float]) -> float:
        """The excess of all dimensions, less a row."""
        return sum(
            abs(_beyond(total - own.get(d, 0.0), pairs - (d in own)))
            for d, (total, pairs) in sums.items()
        )

    while (now := without({})) > 0:
        best = min(left, key=lambda row: without(left[row]))
        if without(left[best]) >= now:
            break
        for dimension, value in left.pop(best).items():
            total = sums[dimension]
            total[0], total[1] = total[0] - value, total[1] - 1
        gone.append(best)
    return gone


def is_longer(number: int, dimension: str, seed: int) -> bool:
    """Returns whether a negative is asked to be longer than golden: one of two in turn.

    Args:
      number: how many rows before have the dimension active.
      dimension: of the negative.
      seed: of the order within each two.
    """
    pair, which = divmod(number, 2)
    return (draws.number(seed, "side", dimension, pair) < 0.5) == bool(which)


def target(golden: int, longer: bool, *what: object) -> int:
    """Returns the length that a negative is asked to have.

    Args:
      golden: length of the golden reply.
      longer: the side of it.
      what: that the draw depends on.
    """
    share = 0.25 + 0.75 * draws.number("length", *what)  # not at golden's own length
    aim = round(golden * (1 + share * (SIDES[longer] - 1)))
    return max(aim, golden + 1) if longer else max(1, min(aim, golden - 1))
