"""The entries of a list of ratings at the estimates of a sparse fit."""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm.diagnostics.scale import Scale
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import FACETS, Fit
from dignified_jax.mfrm.sparse.fit import facet_levels


@dataclasses.dataclass(frozen=True)
class Entries:
    """N entries, each an observation of one judgment or several, in one of K categories each.

    Scores count from 0 at the lowest category in use: of yes/no judgments they are successes.

    Attributes:
      index: facet, or name of a further one -> (N,) levels.
      sizes: the same names -> numbers of levels.
      trials: (N,) numbers of judgments.
      successes: (N,) sums of scores.
      most: (N,) highest sums that there could be.
      logit: (N,) of the facets, without steps; infinite where the model's score is.
      scale: the categories; of yes/no ratings two.
      set_of: (N,) the set of steps of each.
      chance: (N,) expected score of a judgment, of yes/no the probability of a success.
      variance: (N,) of the sum of an entry's judgments; 0 where it is not known.
      fourth_moment: (N,) the same of the fourth central moment.
      residual: (N,) successes less their expectation; 0 where it is not known.
      known: (N,) bool, whether the logit is finite and the score not certain in rounding.
      score: (N,) sums of the scores as they were given.
      expected_score: (N,) their expectation.
    """

    index: dict[str, np.ndarray]
    sizes: dict[str, int]
    trials: np.ndarray
    successes: np.ndarray
    most: np.ndarray
    logit: np.ndarray
    scale: Scale
    set_of: np.ndarray
    chance: np.ndarray
    variance: np.ndarray
    fourth_moment: np.ndarray
    residual: np.ndarray
    known: np.ndarray
    score: np.ndarray
    expected_score: np.ndarray

    def moments(self, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) residuals and variances at other logits; 0 where the model's is infinite."""
        finite = np.isfinite(self.logit)
        p, rank = chances(self.scale, np.where(finite, logit, 0.0), self.set_of)
        residual, variance = _moments(p, rank, self.successes, self.trials)
        return finite * residual, finite * variance


def entries_of(fit: Fit, ratings: SparseRatings, *, without_theta: bool = False) -> Entries:
    """Entries of a fit; `without_theta`: every model has its score on all questions.

    Raises:
      ValueError: if one is of ordinal ratings and the other of yes/no ratings.
    """
    if (fit.step is None) != (ratings.categories is None):
        raise ValueError("the fit and the ratings must both be of categories, or both of yes/no")
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
    scale = Scale.of(fit)
    set_of = ratings.rubric if len(scale.step) > 1 else np.zeros_like(ratings.rubric)
    trials = np.asarray(ratings.trials, float)
    p, rank = chances(scale, np.where(finite, logit, 0.0), set_of)
    score = successes = np.asarray(ratings.successes, float)
    if ratings.categories is not None:
        place = np.asarray(ratings.successes)
        values = np.asarray(ratings.categories, float)
        successes, score = scale.rank[set_of, place], values[place]
    residual, variance = _moments(p, rank, successes, trials)
    known = finite & (variance > 0)
    chance = np.where(finite, (p * rank).sum(axis=1), successes / trials)
    expected_score = trials * chance
    if ratings.categories is not None:
        expected_score = np.where(finite, p @ values, score)
    return Entries(
        index=index,
        sizes={name: measure.size for name, measure in measures.items()},
        trials=trials,
        successes=successes,
        most=trials * rank[:, -1],
        logit=logit,
        scale=scale,
        set_of=set_of,
        chance=chance,
        variance=np.where(known, variance, 0.0),
        fourth_moment=np.where(known, _fourth_moment(p, rank, trials), 0.0),
        residual=np.where(known, residual, 0.0),
        known=known,
        score=score,
        expected_score=expected_score,
    )


def category_chances(at: Entries) -> np.ndarray:
    """(N, K) probabilities of the categories of entries; at a logit of 0 where it is infinite."""
    return chances(at.scale, np.where(np.isfinite(at.logit), at.logit, 0.0), at.set_of)[0]


def chances(scale: Scale, logit: np.ndarray, set_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) probabilities of the categories at (N,) finite logits, and their scores from 0, which
    are (1, K) where there is one set of steps."""
    rank, passed = scale.rank, scale.passed()
    if len(rank) > 1:
        rank, passed = rank[set_of], passed[set_of]
    # Category after category: sums over these then run along the entries.
    weight = rank.T * logit - passed.T
    weight = np.exp(weight - weight.max(axis=0))
    return (weight / weight.sum(axis=0)).T, rank


def _moments(
    p: np.ndarray, rank: np.ndarray, successes: np.ndarray, trials: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) residuals and variances of sums of judgments' scores.

    In the residual nothing cancels where one category is all but sure.
    """
    rank, p = rank.T, p.T
    residual = ((successes - trials * rank) * p).sum(axis=0)
    away = rank - (p * rank).sum(axis=0)
    return residual, trials * (p * (away * away)).sum(axis=0)


def _fourth_moment(p: np.ndarray, rank: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """(N,) fourth central moments of sums of judgments' scores."""
    square = (rank - (p * rank).sum(axis=1, keepdims=True)) ** 2
    variance, fourth = (p * square).sum(axis=1), (p * square * square).sum(axis=1)
    return trials * fourth + 3.0 * trials * (trials - 1.0) * variance**2
