"""The order of runs: what tells most per hour comes first.

A contrast is Lag-DPO against another method on one set of rows with one seed. The n-th seed of a
contrast takes 1/(n - 1) - 1/n off the variance of its mean, in units of one seed's, and the first
is worth a whole unit; that, times the weights of the method and of the rows, is its value. Its
cost is that of the runs which are not planned yet: with the first seed, one for each learning
rate. The next contrast is always that of the greatest value per cost.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from benchmarks.real.entries import ENTRIES, LAGDPO, WORLDS, RunId


@dataclasses.dataclass(frozen=True)
class Group:
    """The trials of a method on one set of rows with one seed, of which the test reads one.

    After the first seed the learning rate is known: then there is one run.
    """

    world: str
    method: str
    seed: int


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Lag-DPO against `method`."""

    world: str
    method: str
    seed: int

    @property
    def groups(self) -> tuple[Group, Group]:
        """Both sides; Lag-DPO's first."""
        return Group(self.world, LAGDPO, self.seed), Group(self.world, self.method, self.seed)


def order(
    worlds: Sequence[str], methods: Sequence[str], seeds: Sequence[int], rates: int
) -> list[Contrast]:
    """Returns all contrasts in the order of value per cost; of equals, as given.

    Args:
      worlds, methods: those that take part; Lag-DPO itself is no contrast.
      seeds: in the order in which they are run; the first one chooses the learning rate.
      rates: number of learning rates that are tried.
    """
    left = list(itertools.product(worlds, [m for m in methods if m != LAGDPO], range(len(seeds))))
    planned: set[Group] = set()
    found = []
    while left:
        # The seeds of a contrast come in their order.
        ready = [one for one in left if one[2] == 0 or (*one[:2], one[2] - 1) not in left]
        best = max(ready, key=lambda one: _rate(one, seeds, rates, planned))
        left.remove(best)
        contrast = Contrast(best[0], best[1], seeds[best[2]])
        planned.update(contrast.groups)
        found.append(contrast)
    return found


def _rate(
    one: tuple[str, str, int], seeds: Sequence[int], rates: int, planned: set[Group]
) -> float:
    world, method, number = one
    missing = [g for g in Contrast(world, method, seeds[number]).groups if g not in planned]
    trials = rates if number == 0 else 1
    cost = sum(trials * ENTRIES[group.method].cost for group in missing)
    gain = 1.0 if number == 0 else 1.0 / number - 1.0 / (number + 1)
    return WORLDS[world] * ENTRIES[method].weight * gain / cost


def groups(contrasts: Sequence[Contrast]) -> Iterator[Group]:
    """Yields the groups of contrasts in order, each once."""
    yield from dict.fromkeys(group for contrast in contrasts for group in contrast.groups)


def trials(group: Group, rates: Sequence[float]) -> list[RunId]:
    """Returns a group's runs, one for each of the learning rates."""
    return [RunId(group.world, group.method, rate, group.seed) for rate in rates]
