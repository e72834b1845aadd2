"""The part of a list that is fitted: models of finite score, categories in use, extreme levels.

As `solver.extremes` has it for arrays, of ridge fits: priors keep all levels but models finite.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, MIXED, UNRATED, Extreme

Index = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class FittedPart:
    """The part of N entries that is fitted.

    Attributes:
      model: (M,) bool, False where taken out as extreme.
      score: (N,) successes; of ordinal ratings the category's place among those in use.
      observed: (S, K) bool, categories in use of each set of steps; None of yes/no ratings.
      extreme: codes of cells and levels, of those that are left where any are.
    """

    model: np.ndarray
    score: np.ndarray
    observed: np.ndarray | None
    extreme: Extreme


@dataclasses.dataclass(frozen=True)
class _Scored:
    """(N,) numbers of judgments, scores, highest scores, categories above the scale's middle; 0 of
    entries that do not count."""

    index: Index
    sizes: tuple[int, int, int, int]
    number: np.ndarray
    score: np.ndarray
    most: np.ndarray
    above_middle: np.ndarray

    def codes(self, facet: str, *, sides: bool = True) -> np.ndarray:
        """int8 codes of the levels of a facet, or of "cell"s.

        `sides`: of a level whose ratings could be in one category only the whole scale tells.
        """
        models, questions, judges, items = self.sizes
        if facet == "cell":
            place, size = (
                self.index["model"] * questions + self.index["question"],
                models * questions,
            )
        else:
            place = self.index[facet]
            size = {"model": models, "question": questions, "judge": judges, "rubric": items}[facet]

        def total(values: np.ndarray) -> np.ndarray:
            values = np.broadcast_to(values, place.shape)
            return np.bincount(place.ravel(), weights=values.ravel(), minlength=size)

        number, score, most = (total(values) for values in (self.number, self.score, self.most))
        found = np.select(
            [number == 0, score == most, score == 0],
            [np.int8(UNRATED), np.int8(ALL_SUCCESSES), np.int8(ALL_FAILURES)],
            np.int8(MIXED),
        )
        if sides:
            side = np.where(total(self.above_middle) > 0, ALL_SUCCESSES, ALL_FAILURES)
            found = np.where((number > 0) & (most == 0), side, found).astype(np.int8)
        return found


def select(
    index: Index,
    successes: np.ndarray,
    trials: np.ndarray,
    sizes: tuple[int, int, int, int],
    categories: int | None = None,
    set_of: np.ndarray | None = None,
) -> FittedPart:
    """Takes extreme models out, and closes up the categories that none of the others uses.

    Args:
      index: facet -> (N,) levels; of rubric items (F, N), as in `RatingList`.
      successes: (N,); of ordinal ratings their categories, from 0.
      trials: (N,) numbers of judgments.
      sizes: (M, Q, J, I).
      categories: K of ordinal ratings.
      set_of: (N,) the set of steps of each of those, from 0.
    """
    active = np.ones(sizes[0], bool)
    first, taken_out = None, np.full(sizes[0], np.int8(MIXED))
    while True:
        kept = active[index["model"]]
        scored, observed = _scored(index, successes, trials, sizes, kept, categories, set_of)
        codes = scored.codes("model")
        first = scored if first is None else first
        gone = active & ((codes == ALL_SUCCESSES) | (codes == ALL_FAILURES))
        if not gone.any():
            break
        taken_out = np.where(gone, codes, taken_out)
        active &= ~gone
    by_facet = {"model": np.where(active, codes, taken_out)}
    for facet in ("judge", "rubric"):
        own = scored.codes(facet)
        by_facet[facet] = np.where(own == UNRATED, first.codes(facet), own)
    question = scored.codes("question", sides=False)
    by_facet["question"] = np.where(question == UNRATED, np.int8(MIXED), question)
    shape = sizes[:2]
    rated = first.codes("cell", sides=False).reshape(shape) != UNRATED
    of_model = np.where(rated, by_facet["model"][:, None], np.int8(UNRATED))
    cell = scored.codes("cell", sides=False).reshape(shape)
    extreme = Extreme(cell=np.where(active[:, None], cell, of_model), **by_facet)
    return FittedPart(active, scored.score, observed, extreme)


def _scored(
    index: Index,
    successes: np.ndarray,
    trials: np.ndarray,
    sizes: tuple[int, int, int, int],
    kept: np.ndarray,
    categories: int | None,
    set_of: np.ndarray | None,
) -> tuple[_Scored, np.ndarray | None]:
    """Entries as those that are kept make them count, and (S, K) the categories of these."""
    number = kept * trials
    if categories is None:
        return _Scored(index, sizes, number, kept * successes, number, number), None
    sets = int(set_of.max()) + 1
    place = set_of * categories + successes
    observed = np.bincount(place[kept], minlength=sets * categories).reshape(sets, categories) > 0
    rank = np.maximum(np.cumsum(observed, axis=1) - 1, 0)
    score, most = (kept * rank[set_of, at] for at in (successes, -1))
    above = kept * (successes - (categories - 1) / 2)
    return _Scored(index, sizes, number, score, most, above), observed
