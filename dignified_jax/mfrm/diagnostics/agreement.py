"""Agreement between judges: do they give the same scores, and how much of that is chance?

Judges meet in a unit: one answer of a model to a question, on one rubric item. A judge's score of
a unit is the mean of its judgments there. With x and y the scores of two judges,

    observed exact agreement  share of common units with x = y
    expected                  mean over those units of sum_k P_x(k) P_y(k), by the fitted model; k
                              are the means that there are of a judge's judgments (of ordinal
                              ratings not known where a judge has several in a unit)
    Rasch-kappa               (observed - expected) / (1 - expected); about 0 where judges agree as
                              much as independent judges who follow the model do (FACETS, Table 7)
    Cohen's kappa             the same with chance agreement sum_k p_x(k) p_y(k) from each judge's
                              own shares of scores (1960); of several judges the mean over pairs
                              (Light, 1971)
    Fleiss' kappa             over units rated by all judges, chance from everyone's shares (1971)
    Krippendorff's alpha      1 - D_o / D_e over all units with two scores or more; D is the mean
                              squared difference (interval) or the share of differences (nominal)
    ICC(2, k)                 reliability of the mean of k judges, drawn from a population, over
                              units rated by all: Shrout & Fleiss (1979), with their two-way table

Independent experts who follow the model well have a Rasch-kappa near 0; above 0 they copy each
other or share a construct, below 0 they disagree more than severity explains. Intervals are
percentiles over samples of the questions, with all their ratings.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.agreement import (
    exact_and_cohen,
    fleiss_kappa,
    icc_2k,
    krippendorff_alpha,
    pair_mean,
    percentile_interval,
    ratio,
)
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_chances,
    category_values,
    counts_of,
    logits,
)
from dignified_jax.mfrm.result import Fit

# Stands for infinity, of levels without a finite estimate.
MOST_LOGIT = 1e3
# Names of the figures of a group of judges.
FIGURES = ("exact", "expected", "rasch_kappa", "cohen_kappa", "fleiss_kappa", "alpha_nominal",
           "alpha_interval", "icc_2k")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Agreement of J judges; NaN where two judges share no unit or a figure is not defined.

    Attributes:
      common: (J, J) numbers of units that two judges have both rated.
      exact: (J, J) observed exact agreement.
      expected: (J, J) by the fitted model.
      rasch_kappa: (J, J).
      cohen_kappa: (J, J), unweighted.
      overall: figure -> (value, lower, upper) over all judges; the names are `FIGURES`. Exact,
        expected and the pairwise kappas are means over pairs, weighted by their common units.
      groups: group -> the same, of the judges in it.
      level: nominal coverage of the intervals.
    """

    common: np.ndarray
    exact: np.ndarray
    expected: np.ndarray
    rasch_kappa: np.ndarray
    cohen_kappa: np.ndarray
    overall: dict[str, tuple[float, float, float]]
    groups: dict[str, dict[str, tuple[float, float, float]]]
    level: float


def agreement(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    categories: Sequence[float] | None = None,
    groups: dict[str, Sequence[int]] | None = None,
    replicates: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Agreement of the judges of a fit.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      categories: scores of an ordinal fit's categories; None for 0, 1, ...
      groups: name -> indices of judges, such as {"human": [0, 1], "llm": [2, 3, 4]}.
      replicates: samples of the questions for the intervals; 0 for none (NaN), as of one question.
      seed: of the samples.
      level: coverage of the intervals.

    Raises:
      ValueError: for ratings of another shape than the fit's, fewer than 2 judges, bad groups.
    """
    counts = counts_of(fit, successes, trials)
    members = members_of(groups, counts[0].shape[2])
    units = Units.of(fit, counts, categories)
    return agreement_of(units, members, replicates=replicates, seed=seed, level=level)


def members_of(groups: Mapping[str, Sequence[int]] | None, judges: int) -> dict[str, np.ndarray]:
    """Group -> numbers of its judges, ascending.

    Raises:
      ValueError: for fewer than 2 judges, or groups that are not of two or more of them.
    """
    if judges < 2:
        raise ValueError("agreement needs at least 2 judges")
    members = {name: np.unique(np.asarray(group, int)) for name, group in (groups or {}).items()}
    for name, group in members.items():
        if group.size < 2 or group[0] < 0 or group[-1] >= judges:
            raise ValueError(f"groups[{name!r}] must list two judges of {judges} or more by index")
    return members


def agreement_of(
    units: Units,
    members: Mapping[str, np.ndarray],
    *,
    replicates: int,
    seed: int,
    level: float,
) -> Agreement:
    """Agreement in units, of all judges and of groups of them by number."""
    everyone = np.arange(units.given.shape[2])
    draws = question_draws(units.questions, replicates, seed)

    def with_intervals(group: np.ndarray) -> dict[str, tuple[float, float, float]]:
        part = units.of_judges(group)
        return intervals(
            part.figures(), [part.of_questions(draw).figures() for draw in draws], level
        )

    common, exact, expected, cohen = units.pairs()
    with np.errstate(divide="ignore", invalid="ignore"):
        rasch = (exact - expected) / (1.0 - expected)
    return Agreement(
        common=common.astype(int),
        exact=exact,
        expected=expected,
        rasch_kappa=rasch,
        cohen_kappa=cohen,
        overall=with_intervals(everyone),
        groups={name: with_intervals(group) for name, group in members.items()},
        level=level,
    )


def intervals(
    found: Mapping[str, float], samples: Sequence[Mapping[str, float]], level: float
) -> dict[str, tuple[float, float, float]]:
    """Returns figure -> its value, and the percentiles of it over samples."""
    return {
        name: (found[name], *percentile_interval((each[name] for each in samples), level))
        for name in FIGURES
    }


def question_draws(questions: int, replicates: int, seed: int) -> np.ndarray:
    """(R, Q) samples of Q questions; none of a single one, which has no other samples."""
    number = replicates if questions > 1 else 0
    return np.random.default_rng(seed).integers(questions, size=(number, questions))


@dataclasses.dataclass(frozen=True)
class Units:
    """Scores that judges gave, N units a question.

    Attributes:
      values: (V,) different scores.
      given: (Q, N, J, V) 1 where a judge's score of a unit is that value; all 0 where not rated.
      foreseen: (Q, J, J) sums over common units of the agreement that the model expects.
    """

    values: np.ndarray
    given: np.ndarray
    foreseen: np.ndarray

    @classmethod
    def of(
        cls, fit: Fit, counts: tuple[jax.Array, ...], categories: Sequence[float] | None
    ) -> Units:
        """From the ratings of a fit."""
        if fit.step is None:
            total, number = (np.asarray(array, float) for array in counts)
        else:
            by_category = np.asarray(counts[0], float)
            number = by_category.sum(axis=-1)
            total = by_category @ np.asarray(category_values(fit, categories), float)
        score = np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
        score = _by_unit(np.round(score, 9))
        values = np.unique(score[np.isfinite(score)])
        given = (score[..., None] == values).astype(float)
        logit = logits(fit)
        logit = np.where(np.isfinite(logit), logit, np.sign(logit) * MOST_LOGIT)
        with xp.on_host(True):
            if fit.step is None:
                chance = share_chances(xp.sigmoid(logit), number, values)
            else:
                chance = category_chances(logit, np.asarray(fit.step, float))
                # Means of several ratings have no chances here.
                chance = np.where(number[..., None] > 1, np.nan, chance)
        chance = _by_unit(chance)
        chance = np.where(np.isfinite(score)[..., None], chance, 0.0)
        by_judge = np.moveaxis(chance, 2, 1).reshape(len(chance), chance.shape[2], -1)
        return cls(values, given, by_judge @ by_judge.swapaxes(1, 2))

    @property
    def questions(self) -> int:
        """Q."""
        return len(self.given)

    def of_judges(self, group: np.ndarray) -> Units:
        """Returns those of some judges only."""
        return Units(self.values, self.given[:, :, group], self.foreseen[:, group][:, :, group])

    def of_questions(self, draw: np.ndarray) -> Units:
        """Returns those of some questions, which may stand several times."""
        return Units(self.values, self.given[draw], self.foreseen[draw])

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(J, J) numbers of common units, exact and expected agreement, Cohen's kappa."""
        common, exact, cohen = exact_and_cohen(self.given.reshape(-1, *self.given.shape[2:]))
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = self.foreseen.sum(axis=0) / common
        return common, exact, np.where(common > 0, expected, np.nan), cohen

    def figures(self) -> dict[str, float]:
        """The figures of all judges together, by name."""
        common, exact, expected, cohen = self.pairs()
        if not (common > 0).any():
            return dict.fromkeys(FIGURES, float("nan"))
        agreed, foreseen = pair_mean(exact, common), pair_mean(expected, common)
        given = self.given.reshape(-1, *self.given.shape[2:])
        by_unit = given.sum(axis=1)
        distance = (self.values[:, None] - self.values) ** 2
        full = by_unit.sum(axis=1) == given.shape[1]
        return {
            "exact": agreed,
            "expected": foreseen,
            "rasch_kappa": ratio(agreed - foreseen, 1.0 - foreseen),
            "cohen_kappa": pair_mean(cohen, common),
            "fleiss_kappa": fleiss_kappa(by_unit[full]),
            "alpha_nominal": krippendorff_alpha(by_unit, (distance > 0).astype(float)),
            "alpha_interval": krippendorff_alpha(by_unit, distance),
            "icc_2k": icc_2k(given[full] @ self.values),
        }


def share_chances(success: np.ndarray, number: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(..., V) probabilities of V shares of successes among (...) judgments: binomial."""
    different, place = np.unique(number, return_inverse=True)
    place, trials = place.reshape(number.shape), different[:, None]
    count = np.round(shares * trials)
    possible = np.abs(shares * trials - count) < 1e-6
    count = np.where(possible, count, 0.0)
    log = np.vectorize(lambda n: math.lgamma(n + 1.0), otypes=[float])  # log n!
    ways = np.where(possible, log(trials) - log(count) - log(trials - count), -np.inf)
    # In logs: of a thousand judgments ways overflow, and powers are 0.
    chosen, others = count[place], (trials - count)[place]
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = np.log(success)[..., None], np.log1p(-success)[..., None]
        powers = np.where(chosen > 0, chosen * p, 0.0) + np.where(others > 0, others * q, 0.0)
    return np.exp(ways[place] + powers)


def _by_unit(values: np.ndarray) -> np.ndarray:
    """(Q, M * I, J, ...) from (M, Q, J, I, ...)."""
    moved = np.moveaxis(values, (1, 0, 3, 2), (0, 1, 2, 3))
    return moved.reshape(len(moved), -1, *moved.shape[3:])
