"""Intervals of the lead of one method over another, on the same test pairs and seeds.

Many pairs stand on few prompts, so prompts are what is drawn anew: a prompt goes or comes with all
its pairs, under all policies alike (a paired cluster bootstrap, percentile intervals). It speaks of
another test set; the t interval over seeds, beside it, speaks of another training run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.real.rows import Conflict
from dignified_jax.comparison.statistics import CONFIDENCE, Paired, paired_interval
from dignified_jax.data import DIMENSIONS

DRAWS = 2000
Figure = Callable[["PairFigures"], np.ndarray]


@dataclasses.dataclass(frozen=True)
class PairFigures:
    """Figures of the dimensions under draws of prompts; NaN for a dimension without a pair.

    Attributes:
      accuracy: (draw, K) shares of pairs with the golden's implicit reward the higher one.
      loss: (draw, K) mean DPO losses.
    """

    accuracy: np.ndarray
    loss: np.ndarray


def worst_accuracy(found: PairFigures) -> np.ndarray:
    """Returns (draw,) the least accuracy of a dimension."""
    return np.nanmin(found.accuracy, axis=-1)


def worst_loss(found: PairFigures) -> np.ndarray:
    """Returns (draw,) the greatest loss of a dimension."""
    return np.nanmax(found.loss, axis=-1)


def mean_accuracy(found: PairFigures) -> np.ndarray:
    """Returns (draw,) the mean over dimensions."""
    return np.nanmean(found.accuracy, axis=-1)


def accuracy_within(places: Sequence[int], found: PairFigures) -> np.ndarray:
    """Returns (draw,) the least accuracy of the dimensions at these places."""
    return np.nanmin(found.accuracy[:, places], axis=-1)


def loss_within(places: Sequence[int], found: PairFigures) -> np.ndarray:
    """Returns (draw,) the greatest loss of the dimensions at these places."""
    return np.nanmax(found.loss[:, places], axis=-1)


def measures(conflict: Conflict) -> dict[str, Figure]:
    """Returns name -> measure; the last ones are of the dimensions that oppose each other."""
    names = ", ".join(conflict.dimensions)
    places = [DIMENSIONS.index(name) for name in conflict.dimensions]
    each = {
        f"accuracy of {DIMENSIONS[place]}": functools.partial(accuracy_within, [place])
        for place in places
    }
    return {
        "worst accuracy": worst_accuracy,
        "worst loss": worst_loss,
        "mean accuracy": mean_accuracy,
        f"worst of {names}, accuracy": functools.partial(accuracy_within, places),
        f"worst of {names}, loss": functools.partial(loss_within, places),
        **each,
    }


def of_pairs(pairs: dict[str, Sequence[Any]], weights: np.ndarray) -> PairFigures:
    """Returns the figures of a policy under weights of the prompts.

    Args:
      pairs: dimension, prompt and margin of each, as `scoring.figures` gives them.
      weights: (draw, prompt) how often each prompt is there.
    """
    margin = np.asarray(pairs["margin"], np.float64)
    right = (np.sign(margin) + 1.0) / 2.0
    loss = np.logaddexp(0.0, -margin)
    dimension = np.array([DIMENSIONS.index(name) for name in pairs["dimension"]])
    prompt = np.asarray(pairs["prompt"])
    sums = np.zeros((3, weights.shape[1], len(DIMENSIONS)))
    for place, values in enumerate((right, loss, np.ones_like(margin))):
        np.add.at(sums[place], (prompt, dimension), values)
    right_sum, loss_sum, count = weights @ sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return PairFigures(right_sum / count, loss_sum / count)


def once(pairs: dict[str, Sequence[Any]]) -> PairFigures:
    """Returns the figures of a policy, every prompt there once; the first axis is 1."""
    return of_pairs(pairs, np.ones((1, max(pairs["prompt"]) + 1)))


def draw_prompts(pairs: dict[str, Sequence[Any]], draws: int, seed: int = 0) -> np.ndarray:
    """Returns (draw, prompt) how often each is drawn, with as many of each kind as there are.

    Prompts with pairs of the same dimensions are of one kind, so that none comes to lack pairs.
    """
    kinds: dict[int, set[str]] = {}
    for prompt, dimension in zip(pairs["prompt"], pairs["dimension"], strict=True):
        kinds.setdefault(prompt, set()).add(dimension)
    members: dict[tuple[str, ...], list[int]] = {}
    for prompt, found in kinds.items():
        members.setdefault(tuple(sorted(found)), []).append(prompt)
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, max(kinds) + 1))
    for own in members.values():
        chances = np.full(len(own), 1 / len(own))
        weights[:, own] = rng.multinomial(len(own), chances, size=draws)
    return weights


@dataclasses.dataclass(frozen=True)
class Lead:
    """How far one method is ahead of another in a measure, mean over seeds.

    Attributes:
      mean: of the seeds' leads.
      by_seed: those, in their order.
      low, high: interval of CONFIDENCE under other prompts.
      seeds: interval over seeds; of one seed there is none (NaN).
    """

    mean: float
    by_seed: tuple[float, ...]
    low: float
    high: float
    seeds: Paired

    @property
    def clear(self) -> bool:
        """True where both intervals leave 0 out on the same side."""
        return self.low * self.high > 0 and self.seeds.clear


def lead(
    left: Sequence[dict[str, Sequence[Any]]],
    right: Sequence[dict[str, Sequence[Any]]],
    measure: Figure,
    draws: int = DRAWS,
) -> Lead:
    """Returns the lead of `left` over `right`, whose entries are the pairs of a seed each."""
    weights = draw_prompts(left[0], draws)
    both = list(zip(left, right, strict=True))
    of_seed = [float((measure(once(a)) - measure(once(b)))[0]) for a, b in both]
    drawn = [measure(of_pairs(a, weights)) - measure(of_pairs(b, weights)) for a, b in both]
    edge = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(np.mean(drawn, axis=0), [edge, 1.0 - edge])
    seeds = paired_interval(of_seed, [0.0] * len(of_seed))
    return Lead(float(np.mean(of_seed)), tuple(of_seed), float(low), float(high), seeds)


def differing(left: dict[str, Sequence[Any]], right: dict[str, Sequence[Any]]) -> float:
    """Returns the share of pairs on which just one of two policies is right."""
    signs = [np.sign(np.asarray(pairs["margin"])) for pairs in (left, right)]
    return float(np.mean(signs[0] != signs[1]))
