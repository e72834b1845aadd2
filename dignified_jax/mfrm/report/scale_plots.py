"""Figures of the rating scale and of bias: category curves, a map of pairs of levels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.diagnostics.scale import Scale, category_curves
from dignified_jax.mfrm.report.figures import FAINT, GRID, INK, blank, save
from dignified_jax.mfrm.report.names import drawn_names
from dignified_jax.mfrm.report.tables import Labels
from dignified_jax.mfrm.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sets of steps that are drawn, of a model with partial credit.
MOST_SETS = 12
# Rows and columns of a map of bias: those with the largest |z|.
MOST_ROWS, MOST_COLUMNS = 40, 30
DISCOVERY = 0.05
# Bias of this many logits has the full colour, unless all is weaker.
STRONG = 2.0


def category_plot(
    path: str | os.PathLike, fit: Fit, labels: Labels, categories: Sequence[float] | None = None
) -> None:
    """Writes `draw_category_plot`'s figure."""
    save(draw_category_plot(fit, labels, categories), path)


def draw_category_plot(
    fit: Fit, labels: Labels, categories: Sequence[float] | None = None
) -> Figure:
    """Probability of each category, and information, by the measure of a rating without its steps.

    With partial credit of each rubric item, the first MOST_SETS. (FACETS, Table 8.)
    """
    curves = category_curves(fit)
    sets = min(len(curves.probability), MOST_SETS)
    across = min(sets, 3)
    down = -(-sets // across)
    figure, axes = blank(
        4.2 * across if across > 1 else 6.5, 3.3 * down + 0.6, down, across, sharex=True
    )
    names = drawn_names(labels["rubric"], "rubric") if len(curves.probability) > 1 else ["all"]
    scores = range(curves.probability.shape[1]) if categories is None else categories
    colours = _shades(curves.probability.shape[1])
    used = Scale.of(fit).used
    for row, one in enumerate(axes):
        if row >= sets:
            one.set_axis_off()
            continue
        for k in np.flatnonzero(used[row]):
            chance = curves.probability[row, k]
            one.plot(curves.logit, chance, color=colours[k], linewidth=1.6)
            _name_curve(one, curves.logit, chance, f"{scores[k]:g}", colours[k])
        information = curves.information[row]
        highest = information.max()
        one.plot(
            curves.logit,
            information / highest,
            color=INK,
            linewidth=1.0,
            linestyle=":",
            label="information (share of its maximum)" if row == 0 else None,
        )
        title = f"{names[row]}: " if len(names) > 1 else ""
        one.set_title(f"{title}most information {highest:.2f}", fontsize=9, color=INK)
        one.set_ylim(0, 1.08)
        one.grid(color=GRID, linewidth=0.8)
        one.set_axisbelow(True)
        if row % across == 0:
            one.set_ylabel("probability")
        if row >= sets - across:
            one.set_xlabel("measure (logits)")
            one.tick_params(labelbottom=True)
    figure.legend(loc="outside upper center", frameon=False, fontsize=8.5)
    return figure


def _name_curve(axes: Axes, logit: np.ndarray, chance: np.ndarray, text: str, colour: str) -> None:
    """The category's score at the top of its curve, inside of the axes at both ends."""
    at = int(np.clip(np.argmax(chance), 3, logit.size - 4))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    place = (logit[at], chance[at] + 0.02)
    axes.text(*place, text, ha="center", va="bottom", fontsize=9, color=colour, bbox=box)


def _shades(number: int) -> list[tuple[float, float, float, float]]:
    """Colours from dark blue to orange, all dark enough on white."""
    from matplotlib import colormaps

    return [colormaps["plasma"](0.82 * k / max(number - 1, 1)) for k in range(number)]


def bias_plot(
    path: str | os.PathLike, found: Interactions, labels: Labels, facets: tuple[str, str]
) -> None:
    """Writes `draw_bias_plot`'s figure."""
    save(draw_bias_plot(found, labels, facets), path)


def draw_bias_plot(found: Interactions, labels: Labels, facets: tuple[str, str]) -> Figure:
    """A map of the pairs: orange where scores are higher than expected, blue where lower.

    Numbers, in logits, stand on pairs with a false discovery rate of 5% or less; infinite ones are
    pairs with the highest or lowest score only. Of large tables, the rows and columns with the
    largest |z|.
    """
    z, q, bias = (np.asarray(a, float) for a in (found.z, found.q, found.bias))
    rows, columns = _largest(z, 1, MOST_ROWS), _largest(z, 0, MOST_COLUMNS)
    names = [drawn_names(labels[facet], facet) for facet in facets]
    places = np.ix_(rows, columns)
    z, q, bias = z[places], q[places], bias[places]
    finite = np.abs(bias[np.isfinite(bias)])
    limit = min(STRONG, finite.max(initial=0.0)) or 1.0
    width = 2.8 + 0.42 * len(columns)
    figure, (axes,) = blank(max(width, 5.0), 2.0 + 0.27 * len(rows), 1, 1)
    image = axes.imshow(
        np.clip(bias, -limit, limit), cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto"
    )
    axes.set_facecolor("#F2F2F2")
    for row, column in np.argwhere(q <= DISCOVERY):
        value = bias[row, column]
        text = f"{value:+.1f}" if np.isfinite(value) else f"{'+' if value > 0 else '-'}\N{INFINITY}"
        dark = abs(value) > 0.7 * limit
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7.5,
            color="white" if dark else INK,
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), [names[1][c] for c in columns], rotation=60, ha="right",
                    rotation_mode="anchor", fontsize=8.5)  # fmt: skip
    axes.set_yticks(range(len(rows)), [names[0][r] for r in rows], fontsize=8.5)
    for side in axes.spines.values():
        side.set_color(FAINT)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30)
    bar.set_label("bias (logits)", fontsize=9)
    bar.outline.set_edgecolor(FAINT)
    return figure


def _largest(z: np.ndarray, axis: int, most: int) -> np.ndarray:
    """Rows or columns with the largest |z|, in their order."""
    size = np.nanmax(np.abs(np.where(np.isnan(z), 0.0, z)), axis=axis)
    return np.sort(np.argsort(-size, kind="stable")[:most])
