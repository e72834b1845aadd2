"""Effects of single judges beyond severity: halo, central tendency, discrimination.

Halo: a judge's impression of an answer carries over from one rubric item to the next. The residuals
of the judge's ratings of an answer are then correlated between items: `halo` is the mean Pearson
correlation of standardised residuals over pairs of items. As every answer's quality is fitted to
the same ratings, it is a little below 0 for judges without halo: it is compared with the mean of
the other judges. Correlations of independent residuals have the variance 1 / (n - 1), and those of
different pairs are uncorrelated, so

    halo_z = (halo - mean of the others) sqrt(sum over pairs of (n_pair - 1))

Central tendency: fewer scores at the ends of the scale than the model expects of a judge of that
severity; more of them are the opposite. With P the probability of the lowest or highest category,

    extreme_z = (number at the ends - sum P) / sqrt(sum P (1 - P))

Discrimination: the slope of the judge's ratings on the logits x, 1 where they follow the model.
Below 1 the judge tells less apart, by central tendency or by noise. One Newton step from 1, as in
FACETS' Table 7 (column "Estim. Discrm"); with x from its mean weighted by the variances W,

    discrimination = 1 + sum r x / sum W x^2

As qualities are fitted to the same ratings it is above 1 for all judges together: its z is that of
the difference from their mean (weighted by sum W x^2).

(Myford & Wolfe, 2003 and 2004, "Detecting and measuring rater effects".)
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_values,
    counts_of,
    fitted_responses,
)
from dignified_jax.mfrm.diagnostics.scale import Scale, by_category
from dignified_jax.mfrm.result import Fit

# An effect is named from this z on, and from these differences of correlations and of shares.
SURE, HALO, SHARE = 3.0, 0.1, 0.05


@dataclasses.dataclass(frozen=True)
class JudgeEffects:
    """All (J,); NaN where a judge's ratings do not tell.

    Attributes:
      count: numbers of ratings.
      categories: numbers of different categories that were given.
      deviation: standard deviation of the scores.
      expected_deviation: the same if the ratings followed the model.
      extreme: share of scores in the lowest or highest category in use; NaN of yes/no ratings.
      expected_extreme: by the model.
      extreme_z: of their difference.
      discrimination: slope.
      discrimination_z: of its difference from the mean of all judges.
      halo: mean correlation between rubric items of the residuals; NaN with one item.
      halo_z: of its difference from that of the other judges.
      raw_correlation: mean correlation between rubric items of the scores.
      others_halo: mean halo of the other judges.
    """

    count: np.ndarray
    categories: np.ndarray
    deviation: np.ndarray
    expected_deviation: np.ndarray
    extreme: np.ndarray
    expected_extreme: np.ndarray
    extreme_z: np.ndarray
    discrimination: np.ndarray
    discrimination_z: np.ndarray
    halo: np.ndarray
    halo_z: np.ndarray
    raw_correlation: np.ndarray
    others_halo: np.ndarray

    def names(self) -> list[str]:
        """Returns each judge's surest effects in words, "" where there are none."""
        with np.errstate(invalid="ignore"):
            excess = self.extreme - self.expected_extreme
            found = {
                "halo": (self.halo_z >= SURE) & (self.halo - self.others_halo >= HALO),
                "central tendency": (self.extreme_z <= -SURE) & (excess <= -SHARE),
                "extreme scores": (self.extreme_z >= SURE) & (excess >= SHARE),
            }
        return [
            ", ".join(name for name, judges in found.items() if judges[j])
            for j in range(self.count.size)
        ]


def judge_effects(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    categories: tuple[float, ...] | None = None,
) -> JudgeEffects:
    """Halo, use of the scale and discrimination of every judge.

    Args:
      fit, successes, trials, categories: as for `agreement.agreement`.

    Raises:
      ValueError: for ratings of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    given = category_values(fit, categories)
    values = np.asarray([0.0, 1.0] if given is None else given, float)
    found = fitted_responses(fit, counts, given)
    arrays = {
        name: np.asarray(getattr(found, name), float)
        for name in ("residual", "variance", "measure", "weight", "score")
    }
    scale = Scale.of(fit)
    ends = np.zeros(scale.used.shape, bool)
    for row, inside in enumerate(scale.used):
        chosen = np.flatnonzero(inside)
        ends[row, chosen[[0, -1]]] = chosen.size > 2
    rows = []
    for judge in range(len(np.asarray(fit.judge))):
        own = {name: array[:, :, judge] for name, array in arrays.items()}
        given = by_category(tuple(array[:, :, judge] for array in counts))
        rows.append(_scale_use(own, given, values, scale, ends) | _discrimination(own) | _halo(own))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    pairs, information = columns.pop("pairs"), columns.pop("slope_information")
    slope = columns["discrimination"]
    known = np.isfinite(slope)
    mean = np.average(slope[known], weights=information[known]) if known.any() else np.nan
    others = np.full(len(rows), np.nan)
    for judge in range(len(rows)):
        rest = np.delete(columns["halo"], judge)
        if np.isfinite(rest).any():
            others[judge] = np.nanmean(rest)
    return JudgeEffects(
        **columns,
        discrimination_z=(slope - mean) * np.sqrt(information),
        halo_z=(columns["halo"] - others) * np.sqrt(pairs),
        others_halo=others,
    )


def _scale_use(
    own: dict[str, np.ndarray],
    given: np.ndarray,
    values: np.ndarray,
    scale: Scale,
    ends: np.ndarray,
) -> dict[str, float]:
    """Figures of one judge: spread of the scores, share at the ends of the scale."""
    number = given.sum(axis=-1)
    count = number.sum()
    known = own["variance"] > 0
    chance = scale.chances(np.where(known, own["measure"], 0.0))
    given, number = given * known[..., None], number * known
    total = given.sum(axis=(0, 1, 2))
    expected = (chance * number[..., None]).sum(axis=(0, 1, 2))

    def deviation(weights: np.ndarray) -> float:
        if not weights.sum() > 0:
            return np.nan
        mean = weights @ values / weights.sum()
        return float(np.sqrt(max(weights @ (values - mean) ** 2 / weights.sum(), 0.0)))

    at_end = np.broadcast_to(ends, given.shape[2:])
    with_ends = number * at_end.any(axis=-1)
    most = with_ends.sum()
    chance_end = (chance * at_end).sum(axis=-1)
    variance = (with_ends * chance_end * (1.0 - chance_end)).sum()
    if (given * at_end).sum() == number.sum() and (total > 0).sum() == 1:
        variance = 0.0  # all at one end: an extreme judge, whose severity only a prior knows
    observed, foreseen = (given * at_end).sum(), (with_ends * chance_end).sum()
    return {
        "count": int(count),
        "categories": int((total > 0).sum()),
        "deviation": deviation(total),
        "expected_deviation": deviation(expected),
        "extreme": observed / most if most else np.nan,
        "expected_extreme": foreseen / most if most else np.nan,
        "extreme_z": (observed - foreseen) / np.sqrt(variance) if variance > 0 else np.nan,
    }


def _discrimination(own: dict[str, np.ndarray]) -> dict[str, float]:
    """Slope of one judge's ratings on their logits."""
    known = own["variance"] > 0
    weight, x, residual = (own[name][known] for name in ("variance", "measure", "residual"))
    if not weight.sum() > 0:
        return {"discrimination": np.nan, "slope_information": 0.0}
    away = x - weight @ x / weight.sum()
    information = weight @ away**2
    if not information > 1e-9 * weight.sum():
        return {"discrimination": np.nan, "slope_information": 0.0}
    return {
        "discrimination": 1.0 + residual @ away / information,
        "slope_information": information,
    }


def _halo(own: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean correlations between items of one judge's residuals and scores."""
    known = own["variance"] > 0
    deviation = np.sqrt(np.where(known, own["variance"], 1.0))
    standard = np.where(known, own["residual"] / deviation, 0.0)
    score = np.where(known, own["score"] / np.where(known, own["weight"], 1.0), 0.0)
    items = known.shape[-1]
    flat = known.reshape(-1, items)
    pairs = np.triu_indices(items, 1)
    halo, number = (a[pairs] for a in correlations(standard.reshape(-1, items), flat))
    if np.unique(score[known]).size < 2:
        halo = np.full_like(halo, np.nan)  # one score for all: residuals are expectations
    raw = correlations(score.reshape(-1, items), flat)[0][pairs]
    usable = np.isfinite(halo)
    return {
        "halo": halo[usable].mean() if usable.any() else np.nan,
        "raw_correlation": raw[np.isfinite(raw)].mean() if np.isfinite(raw).any() else np.nan,
        "pairs": (number[usable] - 1.0).sum(),
    }


def correlations(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, V) Pearson correlations of (N, V) columns over rows where both are present.

    NaN with fewer than 3 such rows or where one does not vary; and the numbers of those rows.
    """
    inside = present.astype(float)
    values = np.where(present, values - (values * inside).sum(0) / np.maximum(inside.sum(0), 1), 0)
    number = inside.T @ inside
    safe = np.maximum(number, 1.0)
    sums, squares = values.T @ inside, (values**2).T @ inside
    product = values.T @ values - sums * sums.T / safe
    spread = np.maximum(squares - sums**2 / safe, 0.0)
    scale = np.sqrt(spread * spread.T)
    known = (number >= 3) & (scale > 1e-12 * safe)
    return np.divide(product, scale, out=np.full(scale.shape, np.nan), where=known), number
