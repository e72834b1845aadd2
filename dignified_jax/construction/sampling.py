"""Plans of rows: which dimensions are active, which paradigm, which seeds of the anchor sets.

Shares are kept as exactly as whole rows allow at every number of rows: each row takes what lags
behind its share the most. So a plan of more rows begins with that of fewer.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from dignified_jax.construction import draws, lengths
from dignified_jax.construction.seeds import Seed
from dignified_jax.typed_config import ConfigError, suggestion

Paradigm = Literal["selection", "generation"]
PARADIGMS: tuple[Paradigm, ...] = ("selection", "generation")


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of the rows.

    Attributes:
      name: as the configuration has it.
      masks: sets of active dimensions that its rows take in turn, each as often.
      share: of the rows, in [0, 1].
    """

    name: str
    masks: tuple[tuple[str, ...], ...]
    share: float


@dataclasses.dataclass(frozen=True)
class RowPlan:
    """A row before it is written.

    Attributes:
      id: number of the row, from 0, which its draws depend on.
      mask: active dimensions, in the order of all.
      paradigm: "selection" (the question has options) or "generation".
      seeds: active dimension -> examples of its anchor set, the first one the seed question.
      longer: active dimension -> whether its negative is asked to be longer than golden.
    """

    id: int
    mask: tuple[str, ...]
    paradigm: Paradigm
    seeds: Mapping[str, tuple[Seed, ...]]
    longer: Mapping[str, bool]


def parse_mix(entries: Sequence[str], dimensions: Sequence[str]) -> tuple[Share, ...]:
    """Reads shares of rows: "2:54.5" (all pairs of dimensions) or "A+T:10" (one set), each > 0.

    They are normalised to a sum of 1.

    Raises:
      ConfigError: names the entry.
    """
    found = []
    for entry in entries:
        name, _, weight = entry.partition(":")
        try:
            value = float(weight)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise ConfigError(f"mix: expected NUMBER:SHARE or A+T:SHARE, found {entry!r}", "mix")
        found.append((name.strip(), _masks(name.strip(), dimensions), value))
    if len({name for name, _, _ in found}) < len(found):
        raise ConfigError(f"mix: expected each number or set once, found {list(entries)}", "mix")
    total = sum(value for _, _, value in found)
    return tuple(Share(name, masks, value / total) for name, masks, value in found)


def _masks(name: str, dimensions: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if name.isdecimal():
        count = int(name)
        if not 1 <= count <= len(dimensions):
            raise ConfigError(
                f"mix: expected 1 to {len(dimensions)} active dimensions, found {name}", "mix"
            )
        return tuple(itertools.combinations(dimensions, count))
    members = [part.strip() for part in name.split("+")]
    for member in members:
        if member not in dimensions or members.count(member) > 1:
            raise ConfigError(
                f"mix: expected distinct dimensions out of {', '.join(dimensions)}, found {name!r}"
                f"{suggestion(member, dimensions)}",
                "mix",
            )
    return (tuple(d for d in dimensions if d in members),)


def plans(
    mix: Sequence[Share], anchors: Mapping[str, Sequence[Seed]], shots: int, seed: int
) -> Iterator[RowPlan]:
    """Yields the plans of rows without end.

    Args:
      mix: shares of the rows.
      anchors: dimension -> its anchor set.
      shots: examples of each active dimension.
      seed: of all draws.
    """
    taken = dict.fromkeys((share.name for share in mix), 0)
    active = dict.fromkeys(anchors, 0)
    for row in itertools.count():
        share = max(mix, key=lambda s: s.share * (row + 1) - taken[s.name])
        turn, at = divmod(taken[share.name], len(share.masks))
        taken[share.name] += 1
        mask = draws.shuffled(share.masks, seed, "mask", share.name, turn)[at]
        # Two rows of the same share take one paradigm each, in an order of their own.
        pair, which = divmod(taken[share.name] - 1, 2)
        paradigm = draws.shuffled(PARADIGMS, seed, "paradigm", share.name, pair)[which]
        seeds = {d: _examples(anchors[d], shots, seed, row, d) for d in mask}
        longer = {d: lengths.is_longer(active[d], d, seed) for d in mask}
        active |= {d: active[d] + 1 for d in mask}
        yield RowPlan(row, mask, paradigm, seeds, longer)


def _examples(
    anchors: Sequence[Seed], shots: int, seed: int, row: int, dimension: str
) -> tuple[Seed, ...]:
    """Distinct examples of an anchor set, as many as there are up to `shots`."""
    found: dict[int, Seed] = {}
    for draw in itertools.count():
        if len(found) == min(shots, len(anchors)):
            return tuple(found.values())
        at = int(draws.number(seed, "seed", row, dimension, draw) * len(anchors))
        found.setdefault(at, anchors[at])
    raise AssertionError("itertools.count has no end")
