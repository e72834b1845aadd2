"""Category statistics: how the categories of a rating scale were used, and where each is likely.

A set of categories 0 ... K - 1 (those not in use closed up, see `Fit.step`) has at a logit x, the
measure of a rating without its steps, probabilities P_k(x), expected category E(x) and variance
W(x), which is the information of a rating there. FACETS, Table 8.1, reports of each category

    average measure    mean x of the ratings in it
    expected measure   the same if ratings followed the model: sum P_k x / sum P_k
    outfit             sum of (k - E)^2 / W over ratings in it, by its expectation, a sum over all
    infit              the same without W (Winsteps manual, "Category mean-square fit statistics")
    threshold          Rasch-Andrich: where it is as likely as the one below
    thurstone          where P(X >= k) = 1/2
    expectation        where E = k; of the lowest and highest, 0.25 from it
    minus_half         where E = k - 1/2
    most_probable_from the lowest x where it is the most likely; none of a category that never is
    peak               its highest probability: where E = k, as d log P_k / dx = k - E

A threshold below the one before it is disordered: a category between them is never the most likely.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import counts_of, fitted_responses
from dignified_jax.mfrm.diagnostics.scale import Scale, by_category
from dignified_jax.mfrm.result import Fit

# Expected scores this far from the lowest and the highest stand for them, as in FACETS.
FROM_EXTREME = 0.25
HALVINGS = 60
# Beyond the thresholds every expected score that is looked for lies within this many logits.
REACH = 40.0


@dataclasses.dataclass(frozen=True)
class CategoryStatistics:
    """All (S, K): S sets of steps (1, or one a rubric item), K categories; NaN where not in use.

    Attributes:
      count: numbers of ratings.
      used: numbers of those with a finite measure, which the next five are about.
      expected_count: numbers that the model expects.
      average_measure: logits.
      expected_measure: logits.
      infit: mean square.
      outfit: mean square.
      threshold: logits; NaN of the lowest category in use, as of the next three.
      standard_error: of the threshold.
      thurstone: logits.
      minus_half: logits.
      disordered: bool, whether the threshold is below the one before it.
      expectation: logits.
      most_probable_from: logits; -inf of a lowest category, NaN where never the most likely.
      peak: highest probability.
    """

    count: np.ndarray
    used: np.ndarray
    expected_count: np.ndarray
    average_measure: np.ndarray
    expected_measure: np.ndarray
    infit: np.ndarray
    outfit: np.ndarray
    threshold: np.ndarray
    standard_error: np.ndarray
    thurstone: np.ndarray
    minus_half: np.ndarray
    disordered: np.ndarray
    expectation: np.ndarray
    most_probable_from: np.ndarray
    peak: np.ndarray


def category_statistics(
    fit: Fit, successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None = None
) -> CategoryStatistics:
    """Statistics of the categories of a fit; of yes/no ratings there are two, with threshold 0.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.

    Raises:
      ValueError: for ratings of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    return statistics_of(fit, _sums(fit, counts, Scale.of(fit)))


def statistics_of(fit: Fit, sums: dict[str, np.ndarray]) -> CategoryStatistics:
    """Statistics from (S, K) sums of `category_terms` over the ratings."""
    scale = Scale.of(fit)
    used = scale.used
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = {
            "average_measure": sums["measure"] / sums["used"],
            "expected_measure": sums["expected_measure"] / sums["expected_count"],
            "infit": sums["square"] / sums["expected_square"],
            "outfit": sums["standard_square"] / sums["expected_standard_square"],
        }
    figures = {name: np.where(sums["used"] > 0, value, np.nan) for name, value in figures.items()}
    places = {name: np.full(used.shape, np.nan) for name in _PLACES}
    for row, inside in enumerate(used):
        chosen = np.flatnonzero(inside)
        for name, values in places_of(scale.step[row, chosen[1:] - 1]).items():
            places[name][row, chosen] = values
    error = np.full(used.shape, np.nan)
    if fit.step is not None:
        known = np.isfinite(places["threshold"][:, 1:])
        error[:, 1:] = np.where(known, np.asarray(fit.standard_error.step, float), np.nan)
    return CategoryStatistics(
        count=sums["count"].astype(int),
        used=sums["used"].astype(int),
        expected_count=sums["expected_count"],
        standard_error=error,
        disordered=places.pop("disordered") > 0,
        **figures,
        **places,
    )


def _sums(fit: Fit, counts: tuple[jax.Array, ...], scale: Scale) -> dict[str, np.ndarray]:
    """Name -> (S, K) sums over the ratings, a model at a time."""
    logit = np.asarray(fitted_responses(fit, counts).measure, float)
    found: dict[str, np.ndarray] = {}
    for model, x in enumerate(logit):
        given = by_category(tuple(array[model] for array in counts))
        chance = scale.chances(np.where(np.isfinite(x), x, 0.0))
        for name, values in category_terms(given, x, chance, scale.rank).items():
            by_item = values.sum(axis=(0, 1))
            if len(scale.step) == 1:
                by_item = by_item.sum(axis=0, keepdims=True)
            found[name] = found.get(name, 0.0) + by_item
    return found


def category_terms(
    given: np.ndarray, x: np.ndarray, chance: np.ndarray, rank: np.ndarray
) -> dict[str, np.ndarray]:
    """Name -> (..., K) terms of observations.

    Args:
      given: (..., K) numbers of ratings in each category.
      x: (...) measures; observations of infinite ones are counted only.
      chance: (..., K) probabilities of the categories.
      rank: (..., K) what the categories count.
    """
    finite = np.isfinite(x)
    x = np.where(finite, x, 0.0)
    inside = given * finite[..., None]
    mean = (chance * rank).sum(axis=-1, keepdims=True)
    square = (rank - mean) ** 2
    variance = (chance * square).sum(axis=-1, keepdims=True)
    standard = np.divide(square, variance, out=np.zeros_like(square), where=variance > 0)
    expected = inside.sum(axis=-1, keepdims=True) * chance
    return {
        "count": given,
        "used": inside,
        "measure": inside * x[..., None],
        "square": inside * square,
        "standard_square": inside * standard,
        "expected_count": expected,
        "expected_measure": expected * x[..., None],
        "expected_square": expected * square,
        "expected_standard_square": expected * standard,
    }


_PLACES = ("threshold", "thurstone", "minus_half", "disordered", "expectation",
           "most_probable_from", "peak")  # fmt: skip


def places_of(step: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (K,) of K categories that are all in use, from their K - 1 steps."""
    highest = step.size
    category = np.arange(highest + 1)
    passed = np.concatenate([[0.0], np.cumsum(step)])

    def chances(x: np.ndarray) -> np.ndarray:
        """(N, K) probabilities at (N,) logits."""
        potential = x[:, None] * category - passed
        weight = np.exp(potential - potential.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def solve(rising: Callable[[np.ndarray], np.ndarray], number: int) -> np.ndarray:
        """(N,) logits at which a rising function is 0."""
        low = np.full(number, step.min(initial=0.0) - REACH)
        high = np.full(number, step.max(initial=0.0) + REACH)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = rising(middle) > 0
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2

    def at_score(score: np.ndarray) -> np.ndarray:
        return solve(lambda x: chances(x) @ category - score, score.size)

    def at_least_half(x: np.ndarray) -> np.ndarray:
        above = np.cumsum(chances(x)[:, ::-1], axis=1)[:, ::-1]
        return np.diag(above[:, 1:]) - 0.5

    inner = category.astype(float)
    if highest:
        inner[[0, -1]] = FROM_EXTREME, highest - FROM_EXTREME
    expectation = at_score(inner) if highest else np.full(1, np.nan)
    peak = np.ones(highest + 1)
    peak[1:-1] = np.diag(chances(expectation))[1:-1]

    def from_second(values: np.ndarray) -> np.ndarray:
        return np.concatenate([[np.nan], values])

    return {
        "threshold": from_second(step),
        "thurstone": from_second(solve(at_least_half, highest)),
        "minus_half": from_second(at_score(category[1:] - 0.5)),
        "disordered": np.concatenate([[0.0, 0.0], np.diff(step) < 0])[: highest + 1],
        "expectation": expectation,
        "most_probable_from": _most_probable_from(passed),
        "peak": peak,
    }


def _most_probable_from(passed: np.ndarray) -> np.ndarray:
    """(K,) from sums of steps: two categories are equally likely at the mean step between them."""
    found = np.full(passed.size, np.nan)
    for k in range(passed.size):
        below = [(passed[k] - passed[j]) / (k - j) for j in range(k)]
        above = [(passed[j] - passed[k]) / (j - k) for j in range(k + 1, passed.size)]
        low, high = max(below, default=-np.inf), min(above, default=np.inf)
        if low < high:
            found[k] = low
    return found
