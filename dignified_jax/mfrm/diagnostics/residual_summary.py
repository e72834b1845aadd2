"""Global summary of residuals, as in FACETS' Table 5: do the ratings as a whole follow the model?

Of all ratings with a finite measure it has the mean and standard deviation of score, expectation,
residual and standardised residual, and

    Pearson chi-square          sum of residual^2 / variance
    log-likelihood chi-square   -2 log P(ratings), at the estimates
    variance explained          1 - sum residual^2 / sum (score - mean)^2, and its expectation

Degrees of freedom are the ratings less the free parameters. Every answer's quality is one that a
prior holds, so they are between the number that counts qualities and the one that does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_values,
    counts_of,
    fitted_responses,
)
from dignified_jax.mfrm.diagnostics.scale import Scale, by_category
from dignified_jax.mfrm.result import Fit


@dataclasses.dataclass(frozen=True)
class ResidualSummary:
    """Ratings as single judgments.

    Attributes:
      count: number of ratings with a finite measure.
      moments: "score", "expected", "residual", "standardized" -> (mean, SD divided by the number,
        SD divided by one less).
      pearson: chi-square.
      deviance: log-likelihood chi-square.
      parameters: free ones of models, judges, items, questions and steps.
      answers: rated (model, question) cells, whose qualities a prior holds.
      explained: share of the scores' variance that the estimates explain.
      expected_explained: what it would be if the ratings followed the model.
    """

    count: int
    moments: dict[str, tuple[float, float, float]]
    pearson: float
    deviance: float
    parameters: int
    answers: int
    explained: float
    expected_explained: float


def residual_summary(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    categories: Sequence[float] | None = None,
) -> ResidualSummary:
    """Summary of the residuals of all ratings.

    Args:
      fit, successes, trials, categories: as for `agreement.agreement`.

    Raises:
      ValueError: for ratings of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    scale = Scale.of(fit)
    given = category_values(fit, categories)
    values = np.asarray([0.0, 1.0] if given is None else given, float)
    sums: dict[str, np.ndarray] = {}
    answers = 0
    measure = np.asarray(fitted_responses(fit, counts, given).measure, float)
    for model, x in enumerate(measure):  # one at a time, for memory
        finite = np.isfinite(x)
        inside = by_category(tuple(array[model] for array in counts)) * finite[..., None]
        own = residual_sums(inside, scale.chances(np.where(finite, x, 0.0)), values)
        sums = {name: sums.get(name, 0.0) + value for name, value in own.items()}
        answers += int((inside.sum(axis=(1, 2, 3)) > 0).sum())
    return summary_of(sums, parameters=_parameters(fit), answers=answers)


def residual_sums(
    inside: np.ndarray, chance: np.ndarray, values: np.ndarray
) -> dict[str, np.ndarray]:
    """Sums over single ratings, and of moments sums of the values and of their squares.

    Args:
      inside: (..., K) numbers of ratings in each category.
      chance: (..., K) probabilities of the categories.
      values: (K,) their scores.
    """
    number = inside.sum(axis=-1)
    mean = chance @ values
    away = values - mean[..., None]
    variance = (chance * away**2).sum(axis=-1)
    deviation = np.sqrt(np.where(variance > 0, variance, np.inf))[..., None]
    chosen = inside > 0
    terms = {
        "score": np.broadcast_to(values, away.shape),
        "expected": np.broadcast_to(mean[..., None], away.shape),
        "residual": away,
        "standardized": away / deviation,
    }
    moments = {
        name: np.array([(inside * term**power).sum() for power in (1, 2)])
        for name, term in terms.items()
    }
    return moments | {
        "number": number.sum(),
        "log": (inside[chosen] * np.log(chance[chosen])).sum(),
        "variance": (number * variance).sum(),
    }


def summary_of(sums: dict[str, np.ndarray], *, parameters: int, answers: int) -> ResidualSummary:
    """Summary from `residual_sums` of all ratings."""
    count = float(sums["number"]) or float("nan")
    pairs = {name: sums[name] for name in ("score", "expected", "residual", "standardized")}
    residual = pairs["residual"][1]
    total = pairs["score"][1] - pairs["score"][0] ** 2 / count
    expected = pairs["expected"][1] - pairs["expected"][0] ** 2 / count
    foreseen = expected + sums["variance"]
    return ResidualSummary(
        count=int(sums["number"]),
        moments={name: _mean_and_deviations(*pair, count) for name, pair in pairs.items()},
        pearson=float(pairs["standardized"][1]),
        deviance=float(-2.0 * sums["log"]),
        parameters=parameters,
        answers=answers,
        explained=float(1.0 - residual / total) if total > 0 else float("nan"),
        expected_explained=float(expected / foreseen) if foreseen > 0 else float("nan"),
    )


def _mean_and_deviations(total: float, square: float, count: float) -> tuple[float, float, float]:
    mean = total / count
    spread = max(square - total * mean, 0.0)
    sample = float(np.sqrt(spread / (count - 1))) if count > 1 else float("nan")
    return float(mean), float(np.sqrt(spread / count)), sample


def _parameters(fit: Fit) -> int:
    """Free ones: finite levels less one a facet that sums to zero, and steps less one a set."""
    scores = int(np.isfinite(np.asarray(fit.score)).sum())
    found = {"model": scores, "grand": min(scores, 1), "zero": 0}[fit.center]
    for facet in ("judge", "rubric", "question"):
        error = np.asarray(getattr(fit.standard_error, facet))
        free = int((error[np.isfinite(error)] > 0).sum())
        # A level that is known exactly fixes the facet's scale in place of its zero sum.
        found += free if (error == 0).any() else max(free - 1, 0)
    return found + step_parameters(fit)


def step_parameters(fit: Fit) -> int:
    """Number of free steps: those of a set sum to zero."""
    if fit.step is None:
        return 0
    # None of a rubric item with one category in use.
    return int(np.maximum(np.isfinite(np.asarray(fit.step)).sum(axis=1) - 1, 0).sum())
