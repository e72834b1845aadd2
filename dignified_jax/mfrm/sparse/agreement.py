"""Agreement between the judges of a list of ratings: figures as in `diagnostics.agreement`.

Judges meet in a unit, which here is one answer of a model to a question, on one rubric item and one
level of every further facet. Of more judges than MOST_PAIRED there are no figures of pairs. Means
over pairs are then sums over units: with c_v of a unit's n judges giving the score v,

    exact agreement    sum over units of sum_v c_v (c_v - 1) / sum over units of n (n - 1)

which is the mean over pairs of judges weighted by common units, and likewise what is expected;
Cohen's and Fleiss' kappa and ICC(2, k) compare judges one by one, and are not known.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from dignified_jax.agreement import alpha_of, coincidences, ratio
from dignified_jax.mfrm.diagnostics.agreement import (
    FIGURES,
    Agreement,
    Units,
    agreement_of,
    intervals,
    members_of,
    question_draws,
    share_chances,
)
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import Fit
from dignified_jax.mfrm.sparse.entries import category_chances, entries_of

# Judges that are compared one by one, and numbers in an array of theirs.
MOST_PAIRED, MOST_NUMBERS = 60, 2 * 10**7


def sparse_agreement(
    fit: Fit,
    ratings: SparseRatings,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    replicates: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Agreement of the judges of a sparse fit; of many, without figures of pairs (0 x 0).

    Args:
      fit: from these ratings.
      ratings: the list.
      groups, replicates, seed, level: as for `diagnostics.agreement.agreement`.

    Raises:
      ValueError: for fewer than 2 judges, bad groups.
    """
    judges = len(ratings.labels["judge"])
    members = members_of(groups, judges)
    met = _meetings(fit, ratings)
    options = {"replicates": replicates, "seed": seed, "level": level}
    number, units = len(ratings.labels["question"]), np.bincount(met.question)
    numbers = number * units.max() * judges * max(met.values.size, met.chance.shape[1])
    if judges <= MOST_PAIRED and numbers <= MOST_NUMBERS:
        return agreement_of(_paired(met, number, judges), members, **options)
    draws = question_draws(number, replicates, seed)
    times = [np.bincount(draw, minlength=number) for draw in draws]

    def with_intervals(group: np.ndarray) -> dict[str, tuple[float, float, float]]:
        sums = _sums(met, np.isin(met.judge, group), number)
        samples = [sums.figures(each) for each in times]
        return intervals(sums.figures(np.ones(number)), samples, level)

    nothing = np.zeros((0, 0))
    return Agreement(
        *(nothing.astype(int), nothing, nothing, nothing, nothing),
        overall=with_intervals(np.arange(judges)),
        groups={name: with_intervals(group) for name, group in members.items()},
        level=level,
    )


@dataclasses.dataclass(frozen=True)
class _Meetings:
    """C scores, each of a judge in a unit.

    Attributes:
      unit: (C,) numbers of the units.
      judge: (C,).
      question: (U,) of each unit.
      value: (C,) places of the scores among the different ones.
      values: (V,) different scores.
      chance: (C, K) probabilities of scores, by the fitted model; NaN where they are not known.
    """

    unit: np.ndarray
    judge: np.ndarray
    question: np.ndarray
    value: np.ndarray
    values: np.ndarray
    chance: np.ndarray


def _meetings(fit: Fit, ratings: SparseRatings) -> _Meetings:
    """Scores of the fit's ratings, several judgments of a judge in a unit as their mean."""
    at = entries_of(fit, ratings)
    facets = [name for name in at.index if name != "judge"]
    unit, at_first = _numbered([at.index[name] for name in facets])
    judges = at.sizes["judge"]
    keys, first, place = np.unique(
        unit * judges + at.index["judge"], return_index=True, return_inverse=True
    )
    number, total = (np.bincount(place, weights=a) for a in (at.trials, at.score))
    values, value = np.unique(np.round(total / number, 9), return_inverse=True)
    # All entries of a score have one logit. Where it is infinite the end of the scale is certain.
    chance = category_chances(at)[first]
    logit, used = at.logit[first], at.scale.used[at.set_of[first]]
    end = np.where(logit > 0, used.shape[1] - 1 - used[:, ::-1].argmax(axis=1), used.argmax(axis=1))
    certain = (np.arange(used.shape[1]) == end[:, None]).astype(float)
    chance = np.where(np.isfinite(logit)[:, None], chance, certain)
    if ratings.categories is None:
        chance = share_chances(chance[:, 1], number, values)
    else:
        chance = np.where(number[:, None] > 1, np.nan, chance)
    question = at.index["question"][at_first]
    return _Meetings(keys // judges, keys % judges, question, value, values, chance)


def _numbered(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) numbers from 0 of (N,) combinations of levels, and where each is first."""
    number = np.zeros(rows[0].size, np.int64)
    for row in rows:  # one after another, as all together may be too many for an integer
        keys = number * (int(row.max()) + 1) + row
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return number, first


def _paired(met: _Meetings, questions: int, judges: int) -> Units:
    """Units with a place for every judge, as many in every question."""
    order = np.argsort(met.question, kind="stable")
    sizes = np.bincount(met.question, minlength=questions)
    within = np.empty(met.question.size, int)
    within[order] = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shape = (questions, sizes.max(), judges)
    place = (met.question[met.unit], within[met.unit], met.judge)
    given = np.zeros((*shape, met.values.size))
    given[(*place, met.value)] = 1.0
    chance = np.zeros((*shape, met.chance.shape[1]))
    chance[place] = met.chance
    by_judge = np.moveaxis(chance, 2, 1).reshape(questions, judges, -1)
    return Units(met.values, given, by_judge @ by_judge.swapaxes(1, 2))


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums over the units of each of Q questions.

    Attributes:
      values: (V,) different scores.
      pairs: (Q,) pairs of judges in a unit.
      agreed: (Q,) of these, with one score.
      foreseen: (Q,) of these, those that the model expects to agree.
      coincidences: (Q, V, V) as `dignified_jax.agreement` has them.
    """

    values: np.ndarray
    pairs: np.ndarray
    agreed: np.ndarray
    foreseen: np.ndarray
    coincidences: np.ndarray

    def figures(self, times: np.ndarray) -> dict[str, float]:
        """The figures by name, with each question (Q,) `times`."""
        pairs = times @ self.pairs
        agreed, foreseen = ratio(times @ self.agreed, pairs), ratio(times @ self.foreseen, pairs)
        distance = (self.values[:, None] - self.values) ** 2
        together = np.tensordot(times, self.coincidences, 1)
        found = dict.fromkeys(FIGURES, float("nan"))
        return found | {
            "exact": agreed,
            "expected": foreseen,
            "rasch_kappa": ratio(agreed - foreseen, 1.0 - foreseen),
            "alpha_nominal": alpha_of(together, (distance > 0).astype(float)),
            "alpha_interval": alpha_of(together, distance),
        }


def _sums(met: _Meetings, inside: np.ndarray, questions: int) -> _Sums:
    """Sums over the (C,) scores that are inside."""
    units, unit, size = met.question.size, met.unit[inside], met.values.size
    flat = unit * size + met.value[inside]
    counts = np.bincount(flat, minlength=units * size).astype(float).reshape(units, size)
    sums, squares = np.zeros(units), np.zeros(units)
    for column in met.chance[inside].T:
        sums += np.bincount(unit, weights=column, minlength=units) ** 2
        squares += np.bincount(unit, weights=column**2, minlength=units)
    number = counts.sum(axis=1)
    by_unit = {
        "pairs": number * (number - 1.0),
        "agreed": (counts * (counts - 1.0)).sum(axis=1),
        "foreseen": sums - squares,
    }
    by_question = {
        name: np.bincount(met.question, weights=values / 2.0, minlength=questions)
        for name, values in by_unit.items()
    }
    order = np.argsort(met.question, kind="stable")
    ends = np.searchsorted(met.question[order], np.arange(questions + 1))
    parts = [counts[order[start:end]] for start, end in itertools.pairwise(ends)]
    together = np.stack([coincidences(part, np.ones(len(part))) for part in parts])
    return _Sums(met.values, **by_question, coincidences=together)
