"""Figures of a fit as PNG files: maps, raw against calibrated scores, infit by measure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures
from dignified_jax.mfrm.diagnostics.scale import Scale
from dignified_jax.mfrm.diagnostics.shifts import measure_of_ranks
from dignified_jax.mfrm.report.facet_names import Names
from dignified_jax.mfrm.report.figures import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    MARKERS,
    MORE_COLOURS,
    MORE_MARKERS,
    blank,
    plural,
    save,
)
from dignified_jax.mfrm.report.names import drawn_names, spread_apart, together
from dignified_jax.mfrm.report.scale_plots import bias_plot, category_plot
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.report.wright import draw_wright_map, measures_to_draw
from dignified_jax.mfrm.result import FACETS, Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bias_plot", "calibration_shift", "category_plot", "fit_plot", "wright_map"]

MOST_MODELS = 60
NAMED_MISFITS = 10
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
    names: Names | None = None,
) -> None:
    """Writes `draw_wright_map`'s figure."""
    save(draw_wright_map(fit, labels, diagnostics, categories, names), path)


def calibration_shift(
    path: str | os.PathLike, fit: Fit, diagnostics: Diagnostics, labels: Labels
) -> None:
    """Writes `draw_calibration_shift`'s figure."""
    save(draw_calibration_shift(fit, diagnostics, labels), path)


def draw_calibration_shift(fit: Fit, diagnostics: Diagnostics, labels: Labels) -> Figure:
    """Raw scores against calibrated ones: the logit of the plain mean, and the score of the fit.

    Models of infinite score have a hollow mark at their adjusted measure, and a raw mean adjusted
    likewise.
    """
    statistics = diagnostics.model.statistics
    # Categories count from 0 among those in use, as in the statistics.
    highest = Scale.of(fit).rank[:, -1].mean()
    least = ADJUSTMENT / np.asarray(statistics.count)
    mean = np.asarray(statistics.observed) / np.asarray(statistics.count)
    raw = measure_of_ranks(fit, np.clip(mean, least, highest - least))
    score, error = measures_to_draw(fit, diagnostics)["model"]
    return draw_shift(labels["model"], raw, score, error, np.isinf(np.asarray(fit.score)))


def draw_shift(
    models: Sequence[object],
    raw: np.ndarray,
    score: np.ndarray,
    error: np.ndarray,
    infinite: np.ndarray,
) -> Figure:
    """Raw measures beside calibrated scores.

    Ranks are given where they differ; of many models, those with the highest scores. Bars are 95%
    intervals with the questions taken as fixed.

    Args:
      models: labels.
      raw: (M,) logits of the plain means.
      score: (M,) calibrated, with its `error`.
      error: (M,).
      infinite: (M,) bool, whether these are adjusted; drawn hollow.
    """
    names = drawn_names(models, "model")
    known = np.flatnonzero(np.isfinite(score) & np.isfinite(raw))
    order = known[np.argsort(score[known], kind="stable")][-MOST_MODELS:]
    rows = np.arange(order.size)
    figure, (axes,) = blank(8.0, 1.5 + 0.32 * max(order.size, 3), 1, 1)
    style = {"linestyle": "", "zorder": 3}
    axes.plot(
        np.stack([raw[order], score[order]]),
        np.stack([rows + LIFT, rows]),
        color=FAINT,
        linewidth=1.5,
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
    hollow = infinite[order]
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
        raw[order],
        rows + LIFT,
        marker="D",
        markersize=5,
        markerfacecolor="white",
        markeredgecolor=COLOURS["judge"],
        markeredgewidth=1.5,
        label="logit of the raw mean",
        **style,
    )
    before, after = _ranks(raw, known), _ranks(score, known)
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
    names: Names | None = None,
) -> None:
    """Writes `draw_fit_plot`'s figure."""
    save(draw_fit_plot(fit, diagnostics, labels, names), path)


def draw_fit_plot(
    fit: Fit, diagnostics: Diagnostics, labels: Labels, names: Names | None = None
) -> Figure:
    """Infit by measure for every level; the most surprising are named."""
    found = {
        facet: (
            np.asarray(measures(fit)[facet][0]),
            np.asarray(getattr(diagnostics, facet).statistics.infit),
            np.asarray(getattr(diagnostics, facet).statistics.count),
        )
        for facet in FACETS
    }
    return draw_infit(found, float(diagnostics.overall.infit), labels, names)


def draw_infit(
    found: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    overall: float,
    labels: Labels,
    names: Names | None = None,
) -> Figure:
    """Infit by measure; facet, or name of a further one -> measures, infit, numbers of ratings."""
    figure, (axes,) = blank(8.0, 5.2, 1, 1)
    axes.axhspan(*PRODUCTIVE, color="#F2F2F2", zorder=0, label="0.5 to 1.5")
    axes.axhline(overall, color=INK, linewidth=1, linestyle="--", label=f"overall {overall:.2f}")
    points = []
    for place, facet in reversed([*enumerate(found)]):
        measure, infit, count = found[facet]
        shown = np.flatnonzero(np.isfinite(measure) & np.isfinite(infit))
        drawn = drawn_names(labels[facet], facet)
        # In proportion to a standardised difference from all ratings together.
        surprise = np.abs(infit - overall) * np.sqrt(count)
        points += [(surprise[i], measure[i], infit[i], drawn[i]) for i in shown]
        axes.plot(
            measure[shown],
            infit[shown],
            linestyle="",
            marker=MARKERS.get(facet, MORE_MARKERS[place % len(MORE_MARKERS)]),
            markersize=6,
            color=COLOURS.get(facet, MORE_COLOURS[place % len(MORE_COLOURS)]),
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
