"""The Wright map: all facets on one logit scale (FACETS, Table 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.category_statistics import FROM_EXTREME
from dignified_jax.mfrm.diagnostics.diagnose import Diagnostics, measures, shown_measures
from dignified_jax.mfrm.diagnostics.shifts import measure_at
from dignified_jax.mfrm.report.facet_names import Names, say
from dignified_jax.mfrm.report.figures import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    MARKERS,
    blank,
    finite_range,
    plural,
)
from dignified_jax.mfrm.report.names import drawn_names, spread_apart, together
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Adjusted = Mapping[str, tuple[np.ndarray, np.ndarray]]
# Logits between the edge of a map and a level that is beyond it.
EDGE = 0.1
# More levels than this are drawn as a histogram, without names.
MOST_NAMES = 80
NAME_INCHES = 0.17
# Width of a letter, and letters for which every column has room.
LETTER_INCHES, FREE_LETTERS = 0.08, 16
# Probabilities that the last column of a map has for yes/no ratings.
CHANCES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def draw_wright_map(
    fit: Fit,
    labels: Labels,
    diagnostics: Diagnostics | None = None,
    categories: Sequence[float] | None = None,
    names: Names | None = None,
    adjusted: Adjusted | None = None,
) -> Figure:
    """All facets on one logit scale: better models and harder judges, items, questions are higher.

    Bars are one standard error each way. Levels without a finite estimate have a hollow mark: at
    their adjusted measure if diagnostics are given, at the edge with that measure beside the name
    if it is beyond the others', and at the edge without one if they are not. Facets of one level
    are left out. The last column has the score that a model of that measure is expected to get from
    the mean judge on the mean item and question: categories at their expectation, and a line where
    the expected score is half-way between two (of yes/no ratings the probability of a yes).

    Args:
      fit, labels, diagnostics: as elsewhere.
      categories: scores of an ordinal fit's categories; None for 0, 1, ...
      names: facet -> heading, where it has another name.
      adjusted: facet -> measures and errors to be drawn, where there are no diagnostics of it.
    """
    facets = ["model", *(f for f in ("judge", "rubric", "question") if len(labels[f]) > 1)]
    most = max(len(labels[f]) for f in facets if len(labels[f]) <= MOST_NAMES or f == "model")
    height = max(6.0, NAME_INCHES * min(most, MOST_NAMES))
    widths = [1.0] * len(facets) + [0.4]
    texts = {facet: drawn_names(labels[facet], facet) for facet in facets}
    long = [max(map(len, texts[f])) for f in facets if len(labels[f]) <= MOST_NAMES]
    width = 9.0 + LETTER_INCHES * sum(max(letters - FREE_LETTERS, 0) for letters in long)
    figure, columns = blank(width, height, 1, len(widths), sharey=True, width_ratios=widths)
    shown = measures_to_draw(fit, diagnostics) | dict(adjusted or {})
    values = {facet: shown[facet][0] for facet in facets}
    extreme = {facet: np.isinf(np.asarray(measures(fit)[facet][0])) for facet in facets}
    low, high = finite_range([values[facet][~extreme[facet]] for facet in facets])
    for axes, facet in zip(columns, facets, strict=False):
        title = plural(facet, names)
        axes.set_title(title, color=COLOURS[facet], fontsize=11, fontweight="bold")
        if len(labels[facet]) > MOST_NAMES:
            _histogram(axes, values[facet], facet, (low, high))
        else:
            inside = np.clip(values[facet], low + EDGE, high - EDGE)
            beyond = np.isfinite(values[facet]) & (inside != values[facet])
            errors = np.where(beyond, np.nan, shown[facet][1])
            axes.set_ylim(low, high)
            drawn = [
                f"{name} ({value:+.1f})" if far else name
                for name, value, far in zip(texts[facet], values[facet], beyond, strict=True)
            ]
            _ladder(axes, inside, errors, drawn, extreme[facet], facet, NAME_INCHES / height)
    for axes in columns:
        axes.set_xticks([])
        axes.set_ylim(low, high)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    _score_column(columns[-1], fit, categories, NAME_INCHES / height)
    upwards = "logits: better models and harder judges, items and questions are higher"
    columns[0].set_ylabel(say(upwards, names or {}, True).replace("$", r"\$"))
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
    places = measure_at(fit, shares) + offset
    if len(lines):  # the ends of the scale, as far as the map has them
        inside = 0.5 * gap * (high - low)
        if places[0] <= low < lines[0] - 2 * inside:
            places[0] = low + inside
        if places[-1] >= high > lines[-1] + 2 * inside:
            places[-1] = high - inside
    last = -np.inf
    for place, text in zip(places, texts, strict=True):
        if low < place < high and place - last > gap * (high - low):
            axes.text(0.5, place, text, ha="center", va="center", fontsize=9, color=INK)
            last = place


def measures_to_draw(
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
    room = 0.6 * gap * (high - low)
    places = spread_apart(at, 1.15 * gap * (high - low), low + room, high - room)
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
