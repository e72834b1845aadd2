"""The levels of a fit, and how well the ratings bear it out, facet by facet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.adjusted import Measures, adjusted_measures
from dignified_jax.mfrm.diagnostics.expected_scores import (
    Responses,
    category_chances,
    category_values,
    counts_of,
    logits,
    responses_of,
)
from dignified_jax.mfrm.diagnostics.fit_statistics import FitStatistics, fit_statistics, sums
from dignified_jax.mfrm.diagnostics.separation import (
    Separation,
    exact_chi_square,
    independent_chi_square,
    separation,
)
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.result import FACETS, Fit

# Beyond this every category but the outermost has no probability.
MOST_LOGIT = 1e3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FacetDiagnostics:
    """One facet of L levels.

    Attributes:
      measure: (L,) of the fit; of extreme levels, whose estimate is infinite, adjusted to a finite
        one (see `adjusted`).
      standard_error: (L,) of the measure.
      fair_average: (L,) expected score a judgment if all other facets were at their mean measure.
      displacement: (L,) of anchored levels, how far the ratings would move them from their anchor;
        NaN for the others.
      statistics: counts, scores, mean squares and correlations.
      separation: of the facet as a whole.
    """

    measure: jax.Array
    standard_error: jax.Array
    fair_average: jax.Array
    displacement: jax.Array
    statistics: FitStatistics
    separation: Separation


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of every facet, of the (model, question) cells and of all ratings together."""

    model: FacetDiagnostics
    question: FacetDiagnostics
    judge: FacetDiagnostics
    rubric: FacetDiagnostics
    cell: FitStatistics
    overall: FitStatistics


def diagnose(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    anchors: anchoring.Anchors | None = None,
    categories: Sequence[float] | None = None,
) -> Diagnostics:
    """Diagnostics of a fit from the ratings it was made of.

    Mean squares compare residuals with the variance of ratings, as FACETS does. Its models have no
    theta, which follows every cell's ratings: when all is as modelled, mean squares are below 1
    (0.85 with nine ratings a cell, `overall` tells) and standardised ones below 0. Compare levels
    with `overall` and with each other, not with 1.

    Works under `jax.jit` and `jax.vmap`.

    Args:
      fit: from these ratings, before any group anchors: separation is about the zero-sum scale.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      anchors: those of the fit.
      categories: scores of an ordinal fit's categories, for averages; None for 0, 1, ...

    Raises:
      ValueError: for ratings, anchors or categories of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    sizes = dict(zip(FACETS, counts[0].shape[:4], strict=True))
    fixed = anchoring.as_anchors(anchors, sizes, counts[0].dtype)
    values = category_values(fit, categories)
    return _diagnose(fit, counts, fixed, values)


@xp.at_once
def _diagnose(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    fixed: dict[str, jax.Array],
    values: jax.Array | None,
) -> Diagnostics:
    responses = responses_of(fit, counts, logits(fit), values)
    shifts = displacements(responses, fit.precision.theta)
    shown = measures(fit) | adjusted_measures(fit, counts)
    # Two passes over the ratings; the rest are sums of their sums.
    by_cell, by_rater = sums(responses, (2, 3)), sums(responses, (0, 1))
    by_level = {
        "model": by_cell.over(1),
        "question": by_cell.over(0),
        "judge": by_rater.over(1),
        "rubric": by_rater.over(0),
    }
    fair, apart = fair_averages(fit, values), separations(fit, fixed)
    facets = {}
    for facet in FACETS:
        displacement = xp.full_like(fair[facet], xp.nan)
        if facet in fixed:
            displacement = xp.where(xp.isnan(fixed[facet]), xp.nan, shifts[facet])
        facets[facet] = FacetDiagnostics(
            measure=shown[facet][0],
            standard_error=shown[facet][1],
            fair_average=fair[facet],
            displacement=displacement,
            statistics=fit_statistics(by_level[facet]),
            separation=apart[facet],
        )
    return Diagnostics(
        **facets,
        cell=fit_statistics(by_cell),
        overall=fit_statistics(by_level["model"].over(0)),
    )


def separations(fit: Fit, fixed: Mapping[str, jax.Array]) -> dict[str, Separation]:
    """Facet -> its separation; `fixed` names the anchored facets."""
    chosen = [measures(fit)[facet] for facet in FACETS]
    chi_squares = [exact_chi_square(*chosen[0], fit.score_covariance)]
    for facet, (measure, error) in zip(FACETS[1:], chosen[1:], strict=True):
        zero_sum = facet not in fixed
        chi_squares.append(independent_chi_square(measure, error, zero_sum=zero_sum))
    # All at once: unknown measures, which fill the shorter facets up, are left out.
    longest = max(measure.size for measure, _ in chosen)

    def filled(index: int) -> jax.Array:
        return xp.stack(
            [
                xp.pad(pair[index], (0, longest - pair[index].size), constant_values=xp.nan)
                for pair in chosen
            ]
        )

    found = xp.vmap(separation)(filled(0), filled(1), xp.stack(chi_squares))
    return {
        facet: jax.tree.map(lambda values, i=index: values[i], found)
        for index, facet in enumerate(FACETS)
    }


def measures(fit: Fit) -> Measures:
    """Facet -> measures of its levels (scores, severities, difficulties), their standard errors."""
    names = {"model": "score"} | {facet: facet for facet in anchoring.ANCHORABLE}
    return {
        facet: (getattr(fit, name), getattr(fit.standard_error, name))
        for facet, name in names.items()
    }


def shown_measures(fit: Fit, diagnostics: Diagnostics) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Facet -> (L,) measures and standard errors: the fit's; infinite ones as adjusted.

    The fit may have got group anchors after its diagnosis: adjusted measures move with the others
    of their facet.
    """
    found = {}
    for facet, pair in measures(fit).items():
        about = getattr(diagnostics, facet)
        measure, error, adjusted = map(np.asarray, (*pair, about.measure))
        finite = np.isfinite(measure)
        shift = (measure[finite] - adjusted[finite]).mean() if finite.any() else 0.0
        found[facet] = (
            np.where(finite, measure, adjusted + shift),
            np.where(finite, error, about.standard_error),
        )
    return found


def fair_averages(fit: Fit, values: jax.Array | None = None) -> dict[str, jax.Array]:
    """Facet -> expected score of each level against the mean measure of the other facets.

    Levels without a finite estimate are left out of the means. Where every rubric item has its own
    steps, the expectation of other facets' levels is the mean over items. (FACETS calls it Fair-M.)
    `values` as for `responses_of`.
    """
    own = {facet: pair[0] for facet, pair in measures(fit).items()}
    mean = {}
    for facet, measure in own.items():
        finite = xp.isfinite(measure)
        mean[facet] = xp.where(finite, measure, 0.0).sum() / finite.sum()
    sign = {"model": 1.0, "question": -1.0, "judge": -1.0, "rubric": -1.0}
    center = sum(sign[facet] * mean[facet] for facet in FACETS)
    return {
        facet: expected_scores(
            fit, center + sign[facet] * (own[facet] - mean[facet]), facet == "rubric", values
        )
        for facet in FACETS
    }


def expected_scores(
    fit: Fit, logit: jax.Array, of_items: bool, values: jax.Array | None
) -> jax.Array:
    """(L,) expected score of a judgment at (L,) logits; `of_items`: level l is item l itself."""
    if fit.step is None:
        return xp.sigmoid(logit)
    if values is None:
        values = xp.arange(fit.step.shape[-1] + 1, dtype=logit.dtype)
    logit = xp.clip(logit, -MOST_LOGIT, MOST_LOGIT)
    if of_items:
        return category_chances(logit, fit.step) @ values
    by_item = category_chances(
        xp.broadcast_to(logit[:, None], (logit.size, len(fit.step))), fit.step
    )
    return (by_item @ values).mean(axis=1)


def displacements(responses: Responses, precision: jax.Array) -> dict[str, jax.Array]:
    """Facet -> how far its levels' ratings would move each from where it is, in logits.

    One Newton step of the level alone, towards the maximum of its ratings' likelihood, with all
    other facets held and theta of its cells following: - sum of residuals / (sum of W less
    sum W_level^2 / D), D a cell's sum of W plus the precision of theta. (FACETS has no theta and
    divides by the sum of W.)
    """
    by_judge, by_rubric = responses.variance.sum(axis=3), responses.variance.sum(axis=2)
    cell = by_judge.sum(axis=2)
    curvature = cell + precision
    followed = {
        "judge": by_judge.sum(axis=(0, 1)) - (by_judge**2 / curvature[..., None]).sum(axis=(0, 1)),
        "rubric": by_rubric.sum(axis=(0, 1))
        - (by_rubric**2 / curvature[..., None]).sum(axis=(0, 1)),
        "question": (precision * cell / curvature).sum(axis=0),
    }
    residual = {
        "judge": responses.residual.sum(axis=(0, 1, 3)),
        "rubric": responses.residual.sum(axis=(0, 1, 2)),
        "question": responses.residual.sum(axis=(0, 2, 3)),
    }
    return {facet: -residual[facet] / followed[facet] for facet in anchoring.ANCHORABLE}
