"""Figures of a fit as PNG files. Needs matplotlib, which is imported only here and only when used.

White background and the colours of Okabe & Ito (2008), which readers with any colour vision tell
apart; facets differ by marker as well, for print without colour.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures
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
# More levels than this are drawn as a histogram, without names.
MOST_NAMES = 24
MOST_LETTERS = 22
MOST_MODELS = 60
NAMED_MISFITS = 10
# How far above its calibrated score a raw one is drawn, in rows.
LIFT = 0.25
# Mean squares that are "productive for measurement": Linacre & Wright (1994).
PRODUCTIVE = (0.5, 1.5)


def wright_map(path: str | os.PathLike, fit: Fit, labels: Labels) -> None:
    """All facets on one logit scale: better models and harder judges, items, questions are higher.

    Bars are one standard error each way. Levels of infinite measure are left out, and facets of one
    level.
    """
    facets = ["model", *(f for f in ("judge", "rubric", "question") if len(labels[f]) > 1)]
    figure, columns = _figure(8.5, 6.0, 1, len(facets), sharey=True)
    values = {facet: np.asarray(measures(fit)[facet][0]) for facet in facets}
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
            errors = np.asarray(measures(fit)[facet][1])
            _ladder(axes, values[facet], errors, _names(labels[facet]), facet)
    columns[0].set_ylabel("logits: better models and harder judges, items and questions are higher")
    _save(figure, path)


def _ladder(
    axes: Axes, values: np.ndarray, errors: np.ndarray, names: Sequence[str], facet: str
) -> None:
    """Names beside their measures, moved apart and joined to them by a line."""
    shown = np.flatnonzero(np.isfinite(values))
    low, high = axes.get_ylim()
    places = spread_apart(values[shown], 0.034 * (high - low), low, high)
    axes.set_xlim(0, 1)
    style = {"color": COLOURS[facet], "marker": MARKERS[facet], "markersize": 6, "capsize": 2.5}
    axes.errorbar(
        np.full(shown.size, 0.12),
        values[shown],
        errors[shown],
        linestyle="",
        linewidth=1.2,
        **style,
    )
    for index, place in zip(shown, places, strict=True):
        axes.plot([0.16, 0.26], [values[index], place], color=FAINT, linewidth=0.8)
        axes.text(0.28, place, names[index], va="center", fontsize=8.5, color=INK)


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
    intervals with the questions taken as fixed. Models of infinite score are left out.
    """
    names = _names(labels["model"])
    statistics = diagnostics.model.statistics
    # Of ordered categories as a share of the highest.
    highest = 1 if fit.step is None else np.shape(fit.step)[-1]
    mean = np.asarray(statistics.observed) / np.asarray(statistics.count) / highest
    score, error = np.asarray(fit.score), np.asarray(fit.standard_error.score)
    known = np.flatnonzero(np.isfinite(score) & (mean > 0) & (mean < 1))
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
        names = _names(labels[facet])
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
    right = axes.get_xlim()[1]
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


def spread_apart(values: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Places at least `gap` apart in the values' order, nearest to them in squares, in range.

    y_i - i gap must not decrease: isotonic regression, by pooling adjacent violators. The gap is
    made smaller where the range has no room for it.
    """
    if values.size == 0:
        return values
    gap = min(gap, (high - low) / values.size)
    order = np.argsort(values, kind="stable")
    offsets = gap * np.arange(values.size)
    pools: list[tuple[float, int]] = []
    for value in values[order] - offsets:
        mean, size = float(value), 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    level = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    places = np.empty(values.size)
    places[order] = np.clip(level, low, high - offsets[-1]) + offsets
    return places


def _ranks(values: np.ndarray, among: np.ndarray) -> dict[int, int]:
    """Index -> rank from 1, the highest value first; equal values share the better rank."""
    return {int(i): int((values[among] > values[i]).sum()) + 1 for i in among}


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The finite values with a margin."""
    every = np.concatenate([value[np.isfinite(value)] for value in values] or [np.zeros(1)])
    low, high = (every.min(), every.max()) if every.size else (0.0, 0.0)
    margin = 0.08 * (high - low) + 0.3
    return float(low - margin), float(high + margin)


def _names(labels: Sequence[Any]) -> list[str]:
    """Labels short enough to be drawn, their middle left out, with no mathematics in them."""

    def short(text: str) -> str:
        half = MOST_LETTERS // 2
        return text if len(text) <= MOST_LETTERS else f"{text[: half - 1]}…{text[-half:]}"

    return [short(str(label)).replace("$", r"\$") for label in labels]


def _figure(
    width: float, height: float, rows: int, columns: int, **options: Any
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
    figure.savefig(path, facecolor="white", format="png")
