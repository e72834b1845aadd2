"""Tables about the rating scale and about all ratings together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.console.table import Table
from dignified_jax.mfrm.diagnostics.category_statistics import CategoryStatistics
from dignified_jax.mfrm.diagnostics.dimensionality import Dimensionality
from dignified_jax.mfrm.diagnostics.residual_summary import ResidualSummary
from dignified_jax.mfrm.diagnostics.shifts import Shifts
from dignified_jax.mfrm.report.tables import Labels

# Fewer ratings than this in a category do not determine its thresholds well (Linacre, 2002).
FEW = 10
SHOWN_CONTRASTS = 5


def category_table(
    found: CategoryStatistics, labels: Labels, categories: Sequence[float] | None
) -> Table:
    """A category a row, of all ratings or of each rubric item."""
    sets, size = found.count.shape
    names = ["all"] if sets == 1 else list(labels["rubric"])
    scores = list(range(size)) if categories is None else list(categories)
    place = [(row, k) for row in range(sets) for k in range(size)]

    def pick(values: np.ndarray) -> list[float]:
        return [float(values[row, k]) for row, k in place]

    total = found.count.sum(axis=1, keepdims=True)
    percent = 100.0 * found.count / np.maximum(total, 1)
    columns: dict[str, list[object]] = {
        "rubric": [names[row] for row, _ in place],
        "category": [scores[k] for _, k in place],
        "count": [int(found.count[row, k]) for row, k in place],
        "used": [int(found.used[row, k]) for row, k in place],
        "percent": pick(percent),
        "cumulative": pick(percent.cumsum(axis=1)),
    }
    figures = {
        "expected_count": found.expected_count,
        "average_measure": found.average_measure,
        "expected_measure": found.expected_measure,
        "infit": found.infit,
        "outfit": found.outfit,
        "threshold": found.threshold,
        "se": found.standard_error,
        "expectation": found.expectation,
        "minus_half": found.minus_half,
        "most_probable_from": found.most_probable_from,
        "thurstone": found.thurstone,
        "peak": 100.0 * found.peak,
    }
    columns |= {name: pick(values) for name, values in figures.items()}
    columns["flag"] = [_flags(found, row, k) for row, k in place]
    notes = (
        "threshold: Rasch-Andrich; expectation, minus_half, thurstone: where the expected score is "
        "the category (0.25 inside the scale's ends), half a category less, and where the category "
        "or a higher one has probability 1/2; peak: highest probability in percent",
    )
    return Table("categories", "categories: use of the scale, in logits", columns, notes=notes)


def _flags(found: CategoryStatistics, row: int, k: int) -> str:
    flags = []
    if found.disordered[row, k]:
        flags.append("disordered threshold")
    if k and found.average_measure[row, k] < np.nanmax(
        found.average_measure[row, :k], initial=-np.inf
    ):
        flags.append("average measure falls")
    if 0 < found.count[row, k] < FEW:
        flags.append("few ratings")
    return "; ".join(flags)


def disordered_scales(found: CategoryStatistics, labels: Labels) -> list[str]:
    """Names of the rubric items with a disordered threshold, "the scale" where all share it."""
    rows = np.flatnonzero(found.disordered.any(axis=1))
    if len(found.count) == 1:
        return ["the scale"] if rows.size else []
    return [clip(labels["rubric"][row]) for row in rows]


def residual_table(found: ResidualSummary) -> Table:
    """Mean and standard deviations of scores, expectations and residuals."""
    rows = list(found.moments)
    columns: dict[str, list[object]] = {
        "of": rows,
        "mean": [found.moments[row][0] for row in rows],
        "sd_population": [found.moments[row][1] for row in rows],
        "sd_sample": [found.moments[row][2] for row in rows],
        "count": [found.count] * len(rows),
    }
    most = max(found.count - found.parameters, 0)
    least = max(most - found.answers, 0)
    notes = (
        f"Pearson chi-square {found.pearson:.1f}, log-likelihood chi-square {found.deviance:.1f}; "
        f"degrees of freedom {least:,} to {most:,} ({found.parameters} parameters, and "
        f"{found.answers:,} answers whose qualities a prior holds)",
        f"variance of the scores explained by the measures {100 * found.explained:.1f}%, "
        f"{100 * found.expected_explained:.1f}% if the ratings followed the model",
    )
    return Table("residuals", "residuals: summary of all ratings", columns, notes=notes)


def shift_table(found: Shifts, labels: Labels) -> Table:
    """A model a row: from the raw mean to the calibrated score."""
    columns: dict[str, list[object]] = {
        "model": list(labels["model"]),
        "raw": found.raw.tolist(),
        "gauge": np.where(np.isfinite(found.score), found.gauge, np.nan).tolist(),
        "panel": found.panel.tolist(),
        "curve": found.curve.tolist(),
        "score": found.score.tolist(),
        "rank_raw": found.rank_raw.tolist(),
        "rank": found.rank.tolist(),
    }
    for name in ("rank_raw", "rank"):
        if np.isfinite(columns[name]).all():
            columns[name] = [int(value) for value in columns[name]]
    spread = float(np.nanmax(np.abs(found.panel), initial=0.0))
    notes = (
        "raw: logit of the plain mean; gauge: the same for all, as levels are centred unweighted; "
        "panel: correction for harsher or milder judges, items and questions than others met; "
        "curve: stretch of a mean on a curved scale, and ratings by extreme judges or items",
        "all models met the same panel: calibration changes the scale and not who is better"
        if spread < 0.005
        else f"the largest correction for the panel is {spread:.2f} logits",
    )
    return Table("shifts", "shifts from raw means to scores, in logits", columns, notes=notes)


def dimension_table(found: Sequence[Dimensionality]) -> Table:
    """A contrast a row, of each facet as variables."""
    places = [
        (one, k) for one in found for k in range(min(SHOWN_CONTRASTS, one.eigenvalue.size - 1))
    ]
    columns: dict[str, list[object]] = {
        "facet": [one.facet for one, _ in places],
        "contrast": [k + 1 for _, k in places],
        "eigenvalue": [float(one.eigenvalue[k]) for one, k in places],
        "percent": [float(100 * one.eigenvalue[k] / one.eigenvalue.size) for one, k in places],
        "reference": [float(one.reference[k]) for one, k in places],
        "reference_95": [float(one.reference_upper[k]) for one, k in places],
        "beyond_chance": [
            "yes" if one.eigenvalue[k] > one.reference_upper[k] else "" for one, k in places
        ],
    }
    notes = (
        "eigenvalues in units of variables, beside those of ratings drawn from the fitted model "
        "(parallel analysis: mean and 95% quantile); a first contrast of 2 or more is worth a look",
    )
    title = "dimensionality: principal components of the standardised residuals of answers"
    return Table("dimensionality", title, columns, notes=notes)


def loading_table(found: Sequence[Dimensionality], labels: Labels) -> Table:
    """A variable a row: its loading on the first contrast, the two ends of it apart."""
    rows = [
        (one.facet, labels[one.facet][level], float(one.loading[level]))
        for one in found
        for level in np.argsort(-one.loading, kind="stable")
    ]
    columns: dict[str, list[object]] = {
        "facet": [row[0] for row in rows],
        "level": [row[1] for row in rows],
        "loading": [row[2] for row in rows],
    }
    title = "loadings on the first contrast: residuals of levels of one sign go together"
    return Table("loadings", title, columns)
