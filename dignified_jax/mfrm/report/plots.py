"""Figures of a fit as PNG files: Wright map, raw against calibrated scores, infit by measure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT
from dignified_jax.mfrm.diagnostics.category_statistics import FROM_EXTREME
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures, shown_measures
from dignified_jax.mfrm.diagnostics.shifts import measure_at
from dignified_jax.mfrm.report.figures import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    MARKERS,
    blank,
    finite_range,
    plural,
    save,
)
from dignified_jax.mfrm.report.names import drawn_names, spread_apart, together
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import FACETS, Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Names = Mapping[str, str] | None
# Logits between the edge of a map and a level that is beyond it.
EDGE = 0.1
# More levels than this are drawn as a histogram, without names.
MOST_NAMES = 80
NAME_INCHES = 0.17
MOST_MODELS = 60
NAMED_MISFITS = 10
# Probabilities that the last column of a map has for yes/no ratings.
CHANCES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
# How far above its calibrated score a raw one is drawn, in rows.
LIFT = 0.25
# Mean squares that are "productive for measurement": Linacre & Wright (1994).
PRODUCTIVE = (0.5, 1.5)


def wright_map(
    path: str | os.PathLike,
    fit: Fit,
    labels: Labels,
    diagnostics: Diagnostics | None = None,
    categories: Sequence[float] | None = None,
    names: Names = None,
) -> None:
    """Writes `draw_wright_map`'s figure."""
    save(draw_wright_map(fit, labels, diagnostics, categories, names), path)


def draw_wright_map(
    fit: Fit,
    labels: Labels,
    diagnostics: Diagnostics | None = None,
    categories: Sequence[float] | None = None,
    names: Names = None,
) -> Figure:
    """All facets on one logit scale: better models and harder judges, items, questions are higher.

    Bars are one standard error each way. Levels without a finite estimate have a hollow mark, at
    their adjusted measure if diagnostics are given and at the edge if not. Facets of one level are
    left out. The last column has the score that a model of that measure is expected to get from the
    mean judge on the mean item and question: categories at their expectation, and a line where the
    expected score is half-way between two (of yes/no ratings the probability of a yes).

    Args:
      fit, labels, diagnostics: as elsewhere.
      categories: scores of an ordinal fit's categories; None for 0, 1, ...
      names: facet -> heading, where it has another name.
    """
    facets = ["model", *(f for f in ("judge", "rubric", "question") if len(labels[f]) > 1)]
    most = max(len(labels[f]) for f in facets if len(labels[f]) <= MOST_NAMES or f == "model")
    height = max(6.0, NAME_INCHES * min(most, MOST_NAMES))
    widths = [1.0] * len(facets) + [0.4]
    figure, columns = blank(9.0, height, 1, len(widths), sharey=True, width_ratios=widths)
    shown = _shown_measures(fit, diagnostics)
    values = {facet: shown[facet][0] for facet in facets}
    low, high = finite_range([values[facet] for facet in facets])
    for axes, facet in zip(columns, facets, strict=False):
        title = plural(facet, names)
        axes.set_title(title, color=COLOURS[facet], fontsize=11, fontweight="bold")
        if len(labels[facet]) > MOST_NAMES:
            _histogram(axes, values[facet], facet, (low, high))
        else:
            hollow = np.isinf(np.asarray(measures(fit)[facet][0]))
            inside = np.clip(values[facet], low + EDGE, high - EDGE)
            axes.set_ylim(low, high)
            drawn = drawn_names(labels[facet], facet)
            _ladder(axes, inside, shown[facet][1], drawn, hollow, facet, NAME_INCHES / height)
    for axes in columns:
        axes.set_xticks([])
        axes.set_ylim(low, high)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    _score_column(columns[-1], fit, categories, NAME_INCHES / height)
    columns[0].set_ylabel("logits: better models and harder judges, items and questions are higher")
    return figure


def _score_column(axes: Axes, fit: Fit, categories: Sequence[float] | None, gap: float) -> None:
    """Expected scores beside the logits at which a model gets them from the mean of the others."""
    low, high = axes.get_ylim()
    offset = sum(
        np.mean(values[np.isfinite(values)])
        for values in map(np.asarray, (fit.judge, fit.rubric, fit.question))
        if np.isfinite(values).any()
    )
    if fit.step is None:
        axes.set_title("P(yes)", color=INK, fontsize=11, fontweight="bold")
        shares, texts, lines = np.array(CHANCES), [f"{share:g}" for share in CHANCES], []
    else:
        axes.set_title("score", color=INK, fontsize=11, fontweight="bold")
        highest = np.shape(fit.step)[-1]
        scores = range(highest + 1) if categories is None else categories
        shares = np.arange(highest + 1.0)
        lines = measure_at(fit, (shares[1:] - 0.5) / highest) + offset
        shares[[0, -1]] = FROM_EXTREME, highest - FROM_EXTREME
        shares, texts = shares / highest, [f"{score:g}" for score in scores]
    axes.set_xlim(0, 1)
    for line in lines:
        if low < line < high:
            axes.plot([0.05, 0.95], [line, line], color=INK, linewidth=0.9)
    last = -np.inf
    for place, text in zip(measure_at(fit, shares) + offset, texts, strict=True):
        if low < place < high and place - last > gap * (high - low):
            axes.text(0.5, place, text, ha="center", va="center", fontsize=9, color=INK)
            last = place


def _shown_measures(
    fit: Fit, diagnostics: Diagnostics | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Facet -> measures and standard errors, those of extreme levels adjusted where known."""
    if diagnostics is not None:
        return shown_measures(fit, diagnostics)
    return {facet: tuple(map(np.asarray, pair)) for facet, pair in measures(fit).items()}


def _ladder(
    axes: Axes,
    values: np.ndarray,
    errors: np.ndarray,
    names: Sequence[str],
    hollow: np.ndarray,
    facet: str,
    gap: float,
) -> None:
    """Names beside their measures, moved apart and joined to them by a line.

    `gap` is the height of a name as a share of the axis; levels that share a mark share a name.
    """
    shown = np.flatnonzero(np.isfinite(values))
    low, high = axes.get_ylim()
    axes.set_xlim(0, 1)
    for kind, face in ((~hollow, COLOURS[facet]), (hollow, "white")):
        drawn = shown[kind[shown]]
        axes.errorbar(
            np.full(drawn.size, 0.12),
            values[drawn],
            np.where(np.isfinite(errors[drawn]), errors[drawn], 0.0),
            linestyle="",
            linewidth=1.2,
            color=COLOURS[facet],
            marker=MARKERS[facet],
            markersize=6,
            markerfacecolor=face,
            capsize=2.5,
        )
    first, texts = together(
        [(values[i],) for i in shown], [names[i] for i in shown], 1e-3 * (high - low)
    )
    at = values[shown][first]
    places = spread_apart(at, 1.15 * gap * (high - low), low, high)
    for value, place, text in zip(at, places, texts, strict=True):
        axes.plot([0.16, 0.26], [value, place], color=FAINT, linewidth=0.8)
        axes.text(0.28, place, text, va="center", fontsize=8.5, color=INK)


def _histogram(axes: Axes, values: np.ndarray, facet: str, limits: tuple[float, float]) -> None:
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, bins=30, range=limits)
    axes.barh(
        edges[:-1], counts, height=np.diff(edges), align="edge", color=COLOURS[facet], alpha=0.75
    )
    axes.set_xlim(0, 1.15 * max(counts.max(initial=1), 1))
    axes.set_xlabel(f"{values.size} levels, longest bar {counts.max(initial=0)}", fontsize=8.5)


def calibration_shift(
    path: str | os.PathLike, fit: Fit, diagnostics: Diagnostics, labels: Labels
) -> None:
    """Writes `draw_calibration_shift`'s figure."""
    save(draw_calibration_shift(fit, diagnostics, labels), path)


def draw_calibration_shift(fit: Fit, diagnostics: Diagnostics, labels: Labels) -> Figure:
    """Raw scores against calibrated ones: the logit of the plain mean, and the score of the fit.

    Ranks are given where they differ; of many models, those with the highest scores. Bars are 95%
    intervals with the questions taken as fixed. Models of infinite score have a hollow mark at
    their adjusted measure, and a raw mean adjusted likewise.
    """
    names = drawn_names(labels["model"], "model")
    statistics = diagnostics.model.statistics
    # Of ordered categories as a share of the highest.
    highest = 1 if fit.step is None else np.shape(fit.step)[-1]
    most = np.asarray(statistics.count) * highest
    mean = np.asarray(statistics.observed) / most
    mean = np.clip(mean, ADJUSTMENT / most, 1 - ADJUSTMENT / most)
    score, error = _shown_measures(fit, diagnostics)["model"]
    known = np.flatnonzero(np.isfinite(score) & np.isfinite(mean))
    order = known[np.argsort(score[known], kind="stable")][-MOST_MODELS:]
    raw = measure_at(fit, mean[order])
    rows = np.arange(order.size)
    figure, (axes,) = blank(8.0, 1.5 + 0.32 * max(order.size, 3), 1, 1)
    style = {"linestyle": "", "zorder": 3}
    axes.plot(
        np.stack([raw, score[order]]), np.stack([rows + LIFT, rows]), color=FAINT, linewidth=1.5
    )
    axes.errorbar(
        score[order],
        rows,
        xerr=1.96 * error[order],
        color=COLOURS["model"],
        marker="o",
        capsize=3,
        label="calibrated score, 95% interval",
        **style,
    )
    hollow = np.isinf(np.asarray(fit.score))[order]
    axes.plot(
        score[order][hollow],
        rows[hollow],
        marker="o",
        markerfacecolor="white",
        markeredgecolor=COLOURS["model"],
        linestyle="",
        zorder=4,
    )
    axes.plot(
        raw,
        rows + LIFT,
        marker="D",
        markersize=5,
        markerfacecolor="white",
        markeredgecolor=COLOURS["judge"],
        markeredgewidth=1.5,
        label="logit of the raw mean",
        **style,
    )
    before, after = _ranks(mean, known), _ranks(score, known)
    moved = {i: f"  (#{before[i]} to #{after[i]})" for i in order if before[i] != after[i]}
    ticks = [names[index] + moved.get(index, "") for index in order]
    axes.set_yticks(rows, ticks, fontsize=9)
    axes.set_ylim(-0.7, max(order.size, 1) - 0.3)
    axes.set_xlabel(
        "logits" + ("   (rank by raw mean to rank by calibrated score)" if moved else "")
    )
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def fit_plot(
    path: str | os.PathLike,
    fit: Fit,
    diagnostics: Diagnostics,
    labels: Labels,
    names: Names = None,
) -> None:
    """Writes `draw_fit_plot`'s figure."""
    save(draw_fit_plot(fit, diagnostics, labels, names), path)


def draw_fit_plot(
    fit: Fit, diagnostics: Diagnostics, labels: Labels, names: Names = None
) -> Figure:
    """Infit by measure for every level; the most surprising are named."""
    figure, (axes,) = blank(8.0, 5.2, 1, 1)
    overall = float(diagnostics.overall.infit)
    axes.axhspan(*PRODUCTIVE, color="#F2F2F2", zorder=0, label="0.5 to 1.5")
    axes.axhline(overall, color=INK, linewidth=1, linestyle="--", label=f"overall {overall:.2f}")
    points = []
    for facet in reversed(FACETS):
        statistics = getattr(diagnostics, facet).statistics
        measure, infit = np.asarray(measures(fit)[facet][0]), np.asarray(statistics.infit)
        shown = np.flatnonzero(np.isfinite(measure) & np.isfinite(infit))
        drawn = drawn_names(labels[facet], facet)
        # In proportion to a standardised difference from all ratings together.
        surprise = np.abs(infit - overall) * np.sqrt(np.asarray(statistics.count))
        points += [(surprise[i], measure[i], infit[i], drawn[i]) for i in shown]
        axes.plot(
            measure[shown],
            infit[shown],
            linestyle="",
            marker=MARKERS[facet],
            markersize=6,
            color=COLOURS[facet],
            alpha=0.8,
            label=plural(facet, names),
            zorder=2 if facet == "question" else 3,
        )
    axes.set_xlabel("measure (logits)")
    axes.set_ylabel("infit mean square")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, PRODUCTIVE[0] - 0.1), max(high, PRODUCTIVE[1] + 0.1))
    _name_in_margin(axes, sorted(points, reverse=True)[:NAMED_MISFITS])
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=8.5)
    return figure


def _name_in_margin(axes: Axes, points: list[tuple[float, float, float, str]]) -> None:
    """Names beside the axes in the order of their points, moved apart and joined to them."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    scaled = [((p[1] - left) / (right - left), (p[2] - low) / (high - low)) for p in points]
    first, texts = together(scaled, [p[3] for p in points], 1e-3)
    points = [(*points[i][:3], text) for i, text in zip(first, texts, strict=True)]
    places = spread_apart(np.array([p[2] for p in points]), 0.05 * (high - low), low, high)
    for (_, measure, infit, name), place in zip(points, places, strict=True):
        axes.annotate(
            name,
            (measure, infit),
            (right, place),
            fontsize=8.5,
            color=INK,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7, "shrinkB": 4},
        )


def _ranks(values: np.ndarray, among: np.ndarray) -> dict[int, int]:
    """Index -> rank from 1, the highest value first; equal values share the better rank."""
    return {int(i): int((values[among] > values[i]).sum()) + 1 for i in among}
