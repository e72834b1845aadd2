"""The order of epochs that draw a given share of their examples from each of several sources."""

from dataclasses import dataclass

import numpy as np

_SHUFFLED_TOGETHER = 4096  # examples of one generator: a source of few is passed often


@dataclass(frozen=True)
class Mixture:
    """Examples of several sources, and the share of each source in every epoch.

    An epoch draws as many examples as there are, the nearest whole number to its share from each
    source. A source is drawn in passes, each in an order of its own, that go on from epoch to
    epoch: one with fewer examples than its share is passed more than once, one with more is passed
    over several epochs, and no example is drawn twice more often than another of its source.

    Attributes:
      sources: (example,) number of each example's source, from 0.
      weights: (source,) positive; their unit does not matter.

    Raises:
      ValueError: a source has no example, or so small a share that it is never drawn.
    """

    sources: np.ndarray
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        empty = np.flatnonzero(self.sizes == 0)
        if len(empty):
            raise ValueError(
                f"sources: expected an example of each, found none of number {empty[0]} (from 0)"
            )
        rare = np.flatnonzero(self.draws == 0)
        if len(rare):
            raise ValueError(
                f"weights: expected at least one example of each source in an epoch of "
                f"{len(self.sources)}, found none of number {rare[0]} (from 0), whose weight is "
                f"{self.weights[rare[0]]:g}"
            )

    @property
    def sizes(self) -> np.ndarray:
        """(source,) number of its examples."""
        return np.bincount(self.sources, minlength=len(self.weights))

    @property
    def draws(self) -> np.ndarray:
        """(source,) examples that an epoch draws, as many together as there are."""
        weights = np.asarray(self.weights, np.float64)
        exact = len(self.sources) * (weights / weights.sum())
        counts = np.floor(exact).astype(np.int64)
        missing = len(self.sources) - int(counts.sum())
        largest = np.argsort(counts - exact, kind="stable")[:missing]
        counts[largest] += 1
        return counts

    @property
    def most_visits(self) -> np.ndarray:
        """(example,) a bound on how often an epoch visits it."""
        return (-(-self.draws // self.sizes) + 1)[self.sources]

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Returns the (example,) positions that an epoch visits, in its order.

        It depends on the arguments alone, and takes time in the number of examples.
        """
        drawn = [
            _draw(np.flatnonzero(self.sources == source), int(draws), (seed, source), epoch)
            for source, draws in enumerate(self.draws)
        ]
        return np.random.default_rng([seed, epoch]).permutation(np.concatenate(drawn))


def _draw(members: np.ndarray, draws: int, seed: tuple[int, int], epoch: int) -> np.ndarray:
    """The examples number epoch * draws and following of endless passes over a source."""
    passes = max(1, _SHUFFLED_TOGETHER // len(members))
    block = passes * len(members)
    start = epoch * draws
    blocks = [
        np.random.default_rng([*seed, number, 0])
        .permuted(np.tile(members, (passes, 1)), axis=1)
        .ravel()
        for number in range(start // block, (start + draws - 1) // block + 1)
    ]
    at = start % block
    return np.concatenate(blocks)[at : at + draws]
