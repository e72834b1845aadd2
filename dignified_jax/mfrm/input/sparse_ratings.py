"""Ratings as a list, for designs too thin for a dense array."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class SparseRatings:
    """N ratings as a list, one entry a (model, question, judge, rubric) or several.

    Attributes:
      model: (N,) whole numbers from 0; likewise the next three.
      question: (N,).
      judge: (N,).
      rubric: (N,).
      successes: (N,) numbers of positive judgments; of ordinal ratings the place of the category,
        from 0, in `categories`.
      trials: (N,) numbers of judgments, at least 1; of ordinal ratings 1.
      labels: facet -> labels of its levels, in the order of the numbers.
      extra: name of a further facet, alike to rubric items -> (N,) whole numbers from 0.
      names: facet -> what it is called, where the table was read with `facets`.
      notes: sentences on what was left out, stands twice or looks odd.
      categories: the scores of ordinal ratings' categories, ascending; None of yes/no ratings.
    """

    model: np.ndarray
    question: np.ndarray
    judge: np.ndarray
    rubric: np.ndarray
    successes: np.ndarray
    trials: np.ndarray
    labels: dict[str, tuple[object, ...]]
    extra: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    categories: tuple[float, ...] | None = None

    def __post_init__(self):
        # Numbers of pairs of levels overflow in types of 8 or 16 bits.
        for name in ("model", "question", "judge", "rubric"):
            object.__setattr__(self, name, _as_numbers(getattr(self, name)))
        extra = {name: _as_numbers(levels) for name, levels in self.extra.items()}
        object.__setattr__(self, "extra", extra)


def _as_numbers(levels: np.ndarray) -> np.ndarray:
    """Whole numbers as int64; others, which are refused by name, as they are."""
    levels = np.asarray(levels)
    whole = np.issubdtype(levels.dtype, np.integer)
    return levels.astype(np.int64, copy=False) if whole else levels
