"""Friedman's test: do models differ, question by question, in rank?"""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Friedman:
    """A test of k models on n questions.

    Attributes:
      statistic: chi-square, corrected for ties; NaN where all ranks are tied.
      degrees: of freedom, k - 1.
      p: of at least that statistic, were models alike.
      questions: n, those where all models have a score.
    """

    statistic: float
    degrees: int
    p: float
    questions: int


def friedman(cells: np.ndarray) -> Friedman:
    """Tests (model, question) scores; questions with a NaN are left out.

        (12 / (n k (k + 1)) sum_j R_j^2 - 3 n (k + 1)) / (1 - sum (t^3 - t) / (n k (k^2 - 1)))

    with R_j the sum of a model's ranks and t the sizes of ties (Friedman, 1937; Conover, 1999).
    """
    from scipy import stats

    known = cells[:, np.isfinite(cells).all(axis=0)]
    models, questions = known.shape
    if models < 2 or questions < 2:
        return Friedman(math.nan, max(models - 1, 0), math.nan, questions)
    ranks = stats.rankdata(known, axis=0)
    ties = sum(
        float((sizes**3 - sizes).sum())
        for sizes in (np.unique(column, return_counts=True)[1] for column in known.T)
    )
    sums = (ranks.sum(axis=1) ** 2).sum()
    plain = 12.0 / (questions * models * (models + 1)) * sums - 3.0 * questions * (models + 1)
    factor = 1.0 - ties / (questions * models * (models**2 - 1))
    statistic = plain / factor if factor > 1e-12 else math.nan
    p = float(stats.chi2.sf(statistic, models - 1)) if math.isfinite(statistic) else math.nan
    return Friedman(float(statistic), models - 1, p, questions)
