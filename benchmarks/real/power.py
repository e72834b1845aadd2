"""How many test pairs and seeds a lead needs before a paired interval can be clear of 0.

Two policies of one seed are right or wrong on the same test pairs. Where they differ on a share d
of them and one leads by a difference m, a pair's difference has the variance d - m^2. With
clusters of c pairs on one prompt, whose differences correlate by rho, that of a mean over n pairs
is (d - m^2) (1 + (c - 1) rho) / n. Between seeds the true lead moves with the standard deviation
s, so that the mean over S seeds has the variance

    s^2 / S + (d - m^2) (1 + (c - 1) rho) / n

where the second part does not fall with S if the errors of the seeds are on the same pairs, which
is what is assumed here: further seeds do not replace test rows.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.stats import norm

LEAD = 0.03


@dataclasses.dataclass(frozen=True)
class Noise:
    """What blurs a lead.

    Attributes:
      differing: share of test pairs on which just one of two policies is right.
      between_seeds: standard deviation of the true lead from one training run to another. 0.011
        is that of Lag-DPO's over averaging in the comparison with the embedded model
        (benchmarks/RESULTS.md).
      cluster: test pairs on one prompt.
      correlation: of their differences.
    """

    differing: float = 0.15
    between_seeds: float = 0.011
    cluster: float = 1.0
    correlation: float = 0.0

    @property
    def design(self) -> float:
        """How many pairs count as one on a prompt of its own."""
        return 1.0 + (self.cluster - 1.0) * self.correlation

    def variance(self, lead: float, pairs: int, seeds: int) -> float:
        """Returns the variance of the mean lead."""
        of_pairs = max(self.differing - lead**2, 0.0) * self.design / pairs
        return self.between_seeds**2 / seeds + of_pairs


def power(lead: float, pairs: int, seeds: int, noise: Noise, confidence: float = 0.95) -> float:
    """Returns the chance that the interval of the lead is clear of 0 on its side.

    Normal, with known variance; t intervals of few seeds have less.

    Args:
      lead: true difference of the accuracies of a dimension.
      pairs: test pairs of that dimension.
      seeds: training runs of each method.
      noise: what blurs it.
      confidence: of the interval.
    """
    error = math.sqrt(noise.variance(lead, pairs, seeds))
    return float(norm.cdf(lead / error - norm.ppf((1.0 + confidence) / 2.0)))


def pairs_needed(
    lead: float, seeds: int, noise: Noise, wanted: float = 0.8, confidence: float = 0.95
) -> int | None:
    """Returns the least number of test pairs with a power of `wanted`.

    None where the seeds alone blur the lead too much, whatever the number of pairs.
    """
    reach = norm.ppf(wanted) + norm.ppf((1.0 + confidence) / 2.0)
    room = (lead / reach) ** 2 - noise.between_seeds**2 / seeds
    if room <= 0:
        return None
    return math.ceil((noise.variance(lead, 1, 1) - noise.between_seeds**2) / room)


def least_lead(
    pairs: int, seeds: int, noise: Noise, wanted: float = 0.8, confidence: float = 0.95
) -> float:
    """Returns the lead that has a power of `wanted` with so many pairs and seeds."""
    square = (norm.ppf(wanted) + norm.ppf((1.0 + confidence) / 2.0)) ** 2
    of_seeds, of_pairs = noise.between_seeds**2 / seeds, noise.design / pairs
    lead = square * (of_seeds + noise.differing * of_pairs) / (1.0 + square * of_pairs)
    return math.sqrt(lead)


def simulate(
    lead: float, pairs: int, seeds: int, noise: Noise, *, draws: int, seed: int
) -> np.ndarray:
    """Returns (draw,) mean leads, of pairs drawn independently (clusters of 1).

    The seeds' errors are on the same pairs: a pair has a difference of -1, 0 or 1 for all seeds,
    and a seed's own part of the lead is added.
    """
    rng = np.random.default_rng(seed)
    better = (noise.differing + lead) / 2
    chances = [noise.differing - better, 1.0 - noise.differing, better]
    counts = rng.multinomial(pairs, chances, size=draws)
    of_pairs = (counts[:, 2] - counts[:, 0]) / pairs
    return of_pairs + rng.normal(0.0, noise.between_seeds, size=(draws, seeds)).mean(axis=1)
