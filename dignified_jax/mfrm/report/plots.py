"""Figures of a fit as PNG files. Needs matplotlib, which is imported only here and only when used.

White background and the colours of Okabe & Ito (2008), which readers with any colour vision tell
apart; facets differ by marker as well, for print without colour.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.adjusted import ADJUSTMENT
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures, shown_measures
from dignified_jax.mfrm.report.names import drawn_names, font_families, spread_apart, together
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import FACETS, Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"model": "#0072B2", "judge": "#D55E00", "rubric": "#009E73", "question": "#8C5A8C"}
MARKERS = {"model": "o", "judge": "s", "rubric": "^", "question": "."}
INK, FAINT = "#222222", "#BBBBBB"
PLURALS = {"model": "models", "judge": "judges", "rubric": "rubric items", "question": "questions"}
DPI = 160
# Logits between the edge of a map and a level that is beyond it.
EDGE = 0.1
# More levels than this are drawn as a histogram, without names.
MOST_NAMES = 80
NAME_INCHES = 0.17
MOST_MODELS = 60
NAMED_MISFITS = 10
# How far above its calibrated score a raw one is drawn, in rows.
LIFT = 0.25
# Mean squares that are "productive for measurement": Linacre & Wright (1994).
PRODUCTIVE = (0.5, 1.5)


def wright_map(
    path: str | os.PathLike, fit: Fit, labels: Labels, diagnostics: Diagnostics | None = None
) -> None:
    """All facets on one logit scale: better models and harder judges, items, questions are higher.

    Bars are one standard error each way. Levels without a finite estimate have a hollow mark, at
    their adjusted measure if diagnostics are given and at the edge if not. Facets of one level are
    left out.
    """
    facets = ["model", *(f for f in ("judge", "rubric", "question") if len(labels[f]) > 1)]
    most = max(len(labels[f]) for f in facets if len(labels[f]) <= MOST_NAMES or f == "model")
    height = max(6.0, NAME_INCHES * min(most, MOST_NAMES))
    figure, columns = _figure(8.5, height, 1, len(facets), sharey=True)
    shown = _shown_measures(fit, diagnostics)
    values = {facet: shown[facet][0] for facet in facets}
    low, high = _range([values[facet] for facet in facets])
    for axes, facet in zip(columns, facets, strict=True):
        axes.set_title(PLURALS[facet], color=COLOURS[facet], fontsize=11, fontweight="bold")
        axes.set_xticks([])
        axes.set_ylim(low, high)
        axes.grid(axis="y", color="#E8E8E8", linewidth=0.8)
        axes.set_axisbelow(True)
        if len(labels[facet]) > MOST_NAMES:
            _histogram(axes, values[facet], facet, (low, high))
        else:
            hollow = np.isinf(np.asarray(measures(fit)[facet][0]))
            inside = np.clip(values[facet], low + EDGE, high - EDGE)
            names = drawn_names(labels[facet], facet)
            _ladder(axes, inside, shown[facet][1], names, hollow, facet, NAME_INCHES / height)
    columns[0].set_ylabel("logits: better models and harder judges, items and questions are higher")
    _save(figure, path)


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
    raw = np.log(mean[order] / (1 - mean[order]))
    rows = np.arange(order.size)
    figure, (axes,) = _figure(8.0, 1.5 + 0.32 * max(order.size, 3), 1, 1)
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
    axes.grid(axis="x", color="#E8E8E8", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    _save(figure, path)


def fit_plot(path: str | os.PathLike, fit: Fit, diagnostics: Diagnostics, labels: Labels) -> None:
    """Infit by measure for every level; the most surprising are named."""
    figure, (axes,) = _figure(8.0, 5.2, 1, 1)
    overall = float(diagnostics.overall.infit)
    axes.axhspan(*PRODUCTIVE, color="#F2F2F2", zorder=0, label="0.5 to 1.5")
    axes.axhline(overall, color=INK, linewidth=1, linestyle="--", label=f"overall {overall:.2f}")
    points = []
    for facet in reversed(FACETS):
        statistics = getattr(diagnostics, facet).statistics
        measure, infit = np.asarray(measures(fit)[facet][0]), np.asarray(statistics.infit)
        shown = np.flatnonzero(np.isfinite(measure) & np.isfinite(infit))
        names = drawn_names(labels[facet], facet)
        # In proportion to a standardised difference from all ratings together.
        surprise = np.abs(infit - overall) * np.sqrt(np.asarray(statistics.count))
        points += [(surprise[i], measure[i], infit[i], names[i]) for i in shown]
        axes.plot(
            measure[shown],
            infit[shown],
            linestyle="",
            marker=MARKERS[facet],
            markersize=6,
            color=COLOURS[facet],
            alpha=0.8,
            label=PLURALS[facet],
            zorder=2 if facet == "question" else 3,
        )
    axes.set_xlabel("measure (logits)")
    axes.set_ylabel("infit mean square")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, PRODUCTIVE[0] - 0.1), max(high, PRODUCTIVE[1] + 0.1))
    _name_in_margin(axes, sorted(points, reverse=True)[:NAMED_MISFITS])
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=8.5)
    _save(figure, path)


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


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The finite values with a margin."""
    every = np.concatenate([value[np.isfinite(value)] for value in values] or [np.zeros(1)])
    low, high = (every.min(), every.max()) if every.size else (0.0, 0.0)
    margin = 0.08 * (high - low) + 0.3
    return float(low - margin), float(high + margin)


def _figure(
    width: float, height: float, rows: int, columns: int, **options: bool
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    # Without pyplot: no global state, no display, no backend to choose.
    figure = Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for one in axes:
        one.set_facecolor("white")
        one.tick_params(colors=INK)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: str | os.PathLike) -> None:
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    families = font_families("".join(text.get_text() for text in texts))
    for text in texts if families else ():
        text.set_fontfamily(families)
    figure.savefig(path, facecolor="white", format="png")
