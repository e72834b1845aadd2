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
    scale = Scale.of(fit)
    sums = _sums(fit, counts, scale)
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


def _sums(fit: Fit, counts: tuple[jax.Array, ...], scale: Scale) -> dict[str, np.ndarray]:
    """Name -> (S, K) sums over the ratings, a model at a time."""
    logit = np.asarray(fitted_responses(fit, counts).measure, float)
    rank = scale.rank
    found: dict[str, np.ndarray] = {}
    for model, x in enumerate(logit):
        given = by_category(tuple(array[model] for array in counts))
        finite = np.isfinite(x)
        x = np.where(finite, x, 0.0)
        inside = given * finite[..., None]
        chance = scale.chances(x)
        mean = (chance * rank).sum(axis=-1, keepdims=True)
        square = (rank - mean) ** 2
        variance = (chance * square).sum(axis=-1, keepdims=True)
        standard = np.divide(square, variance, out=np.zeros_like(square), where=variance > 0)
        expected = inside.sum(axis=-1, keepdims=True) * chance
        terms = {
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
        for name, values in terms.items():
            by_item = values.sum(axis=(0, 1))
            if len(scale.step) == 1:
                by_item = by_item.sum(axis=0, keepdims=True)
            found[name] = found.get(name, 0.0) + by_item
    return found


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
