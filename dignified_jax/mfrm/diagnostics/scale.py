"""The categories of a fit, in NumPy, and where each is likely."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from dignified_jax.mfrm.result import Fit


@dataclasses.dataclass(frozen=True)
class Scale:
    """The categories of a fit, in NumPy; of yes/no ratings two, with a step of 0.

    Attributes:
      step: (S, K - 1) as in `Fit`.
      used: (S, K) bool, which categories are in use.
      rank: (S, K) place of each, from 0, among those in use.
    """

    step: np.ndarray
    used: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, fit: Fit) -> Scale:
        """Returns that of a fit."""
        step = np.zeros((1, 1)) if fit.step is None else np.asarray(fit.step, float)
        lowest = ~np.isneginf(step).any(axis=1, keepdims=True)
        used = np.concatenate([lowest, ~np.isnan(step)], axis=1)
        return cls(step, used, np.maximum(np.cumsum(used, axis=1) - 1, 0).astype(float))

    def passed(self) -> np.ndarray:
        """(S, K) sums of the steps up to each category; infinite where it is not in use."""
        sums = np.cumsum(np.where(np.isfinite(self.step), self.step, 0.0), axis=1)
        sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
        return np.where(self.used, sums, np.inf)

    def chances(self, logit: np.ndarray) -> np.ndarray:
        """(..., I, K) probabilities of the categories at (..., I) finite logits."""
        potential = logit[..., None] * self.rank - self.passed()
        weight = np.exp(potential - potential.max(axis=-1, keepdims=True))
        return weight / weight.sum(axis=-1, keepdims=True)


def by_category(counts: tuple[jax.Array, ...]) -> np.ndarray:
    """(M, Q, J, I, K) numbers of ratings in each category, of either kind of counts."""
    if len(counts) == 1:
        return np.asarray(counts[0], float)
    successes, trials = (np.asarray(array, float) for array in counts)
    return np.stack([trials - successes, successes], axis=-1)


@dataclasses.dataclass(frozen=True)
class CategoryCurves:
    """Curves over N logits.

    Attributes:
      logit: (N,) measures of a rating without its steps.
      probability: (S, K, N) of the categories.
      expected: (S, N) expected category, counted from 0 among those in use.
      information: (S, N) of a rating: the variance of its category.
    """

    logit: np.ndarray
    probability: np.ndarray
    expected: np.ndarray
    information: np.ndarray


def category_curves(fit: Fit, logit: jax.typing.ArrayLike | None = None) -> CategoryCurves:
    """Probabilities, expectation and information of a rating over `logit` (N,).

    None for 121 places that hold all thresholds and 4 logits more either way.
    """
    scale = Scale.of(fit)
    if logit is None:
        finite = scale.step[np.isfinite(scale.step)]
        low, high = finite.min(initial=0.0), finite.max(initial=0.0)
        logit = np.linspace(low - 4.0, high + 4.0, 121)
    x = np.asarray(logit, float)
    chance = scale.chances(np.broadcast_to(x[:, None], (x.size, len(scale.step))))
    chance = np.moveaxis(chance, 0, -1)
    rank = scale.rank
    expected = np.einsum("skn,sk->sn", chance, rank)
    away = rank[..., None] - expected[:, None]
    return CategoryCurves(x, chance, expected, (chance * away**2).sum(axis=1))
