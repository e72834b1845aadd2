"""The entries of a list of ratings at the estimates of a sparse fit."""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import FACETS, Fit
from dignified_jax.mfrm.sparse.fit import facet_levels


@dataclasses.dataclass(frozen=True)
class Entries:
    """N entries, each an observation of one judgment or several.

    Attributes:
      index: facet, or name of a further one -> (N,) levels.
      sizes: the same names -> numbers of levels.
      trials: (N,) numbers of judgments.
      successes: (N,).
      logit: (N,) of a success; infinite where the model's score is.
      chance: (N,) of a success.
      known: (N,) bool, whether the logit is finite and the chance not 0 or 1 in rounding.
    """

    index: dict[str, np.ndarray]
    sizes: dict[str, int]
    trials: np.ndarray
    successes: np.ndarray
    logit: np.ndarray
    chance: np.ndarray
    known: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """(N,) of the sum of an entry's judgments; 0 where it is not known."""
        return np.where(self.known, self.trials * self.chance * (1.0 - self.chance), 0.0)

    @property
    def residual(self) -> np.ndarray:
        """(N,) successes less their expectation; 0 where it is not known."""
        return np.where(self.known, self.successes - self.trials * self.chance, 0.0)


def entries_of(fit: Fit, ratings: SparseRatings, *, without_theta: bool = False) -> Entries:
    """Entries of a fit; `without_theta`: every model has its score on all questions."""
    measures = {
        name: np.asarray(pair[0], float) for name, pair in facet_levels(fit, ratings).items()
    }
    index = {facet: getattr(ratings, facet) for facet in FACETS} | ratings.extra
    if without_theta:
        logit = measures["model"][ratings.model]
    else:
        logit = np.asarray(fit.quality, float)[ratings.model, ratings.question]
    for name, measure in measures.items():
        if name != "model":
            logit = logit - measure[index[name]]
    finite = np.isfinite(logit)
    chance = np.where(finite, 1.0 / (1.0 + np.exp(-np.where(finite, logit, 0.0))), logit > 0)
    return Entries(
        index=index,
        sizes={name: measure.size for name, measure in measures.items()},
        trials=np.asarray(ratings.trials, float),
        successes=np.asarray(ratings.successes, float),
        logit=logit,
        chance=chance,
        known=finite & (chance * (1.0 - chance) > 0),
    )
