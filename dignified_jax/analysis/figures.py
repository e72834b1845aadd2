"""Figures of analyses."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.console.figure import INK, curve_style, frame, legend, make_figure, plain
from dignified_jax.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 4  # panels beside each other
_MOST_NUMBERS = 12  # rows of a heat map whose cells have room for numbers
_MOST_TICKS = 7  # points of a panel that are ticked each


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve of points (point,).

    Attributes:
      label: in the legend.
      x, y: where the points are.
      low, high: ends of intervals, drawn as a band; None without.
      chosen: a value of x that is marked by a line; None for none.
    """

    label: str
    x: Sequence[float] | np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    chosen: float | None = None


def curves(
    panels: Mapping[str, Sequence[Series]],
    x_title: str,
    y_title: str,
    level: float | None = None,
    shared_y: bool = True,
) -> Figure:
    """Draws panels of curves.

    Args:
      panels: title -> curves, those of one label alike in all panels.
      x_title, y_title: of the axes.
      level: a value of y that is marked, such as that of chance.
      shared_y: whether all panels have one scale.
    """
    columns = min(len(panels), _ACROSS)
    rows = math.ceil(len(panels) / columns)
    figure = make_figure(max(1.2 + 2.7 * columns, 5.0), 0.9 + 2.5 * rows)
    labels = list(dict.fromkeys(s.label for series in panels.values() for s in series))
    first: Axes | None = None
    for number, (title, series) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, number + 1, sharey=first if shared_y else None)
        first = first or axes
        frame(axes)
        axes.set_title(plain(title), color=INK, fontsize=10)
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        places = np.unique(np.concatenate([np.asarray(each.x, float) for each in series]))
        if len(places) <= _MOST_TICKS:
            axes.set_xticks(places, [f"{place:g}" for place in places])
        for each in series:
            style = curve_style(labels.index(each.label))
            few = len(each.x) <= 12
            axes.plot(
                *(each.x, each.y),
                **{"label": plain(each.label), "markersize": 4 if few else 0, "linewidth": 1.5},
                **style,
            )
            if each.low is not None:
                axes.fill_between(
                    *(each.x, each.low, each.high), color=style["color"], alpha=0.2, linewidth=0
                )
            if each.chosen is not None:
                axes.axvline(each.chosen, color=style["color"], linewidth=0.9, linestyle=":")
    figure.supxlabel(x_title, color=INK, fontsize=10)
    figure.supylabel(y_title, color=INK, fontsize=10)
    if len(labels) > 1:
        legend(figure)
    return figure


def heatmaps(panels: Mapping[str, tuple[np.ndarray, Sequence[str]]], bar_title: str) -> Figure:
    """Draws square matrices of numbers from -1 to 1, such as cosines or correlations.

    Args:
      panels: title -> (matrix, names of its rows, which are those of its columns).
      bar_title: says what the numbers are.
    """
    figure = make_figure(1.2 + 3.0 * len(panels), 3.4)
    image = None
    for number, (title, (values, names)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        image = axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(plain(title), color=INK, fontsize=10)
        names = [plain(name) for name in names]
        axes.set_xticks(range(len(names)), names, color=INK, fontsize=9)
        axes.set_yticks(range(len(names)), names, color=INK, fontsize=9)
        if len(names) > _MOST_NUMBERS:
            continue
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            ink = "white" if abs(value) > 0.6 else INK
            text = "-" if math.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.85)
    bar.set_label(bar_title, color=INK, fontsize=9)
    return figure


def ranking(values: Mapping[str, float], marked: str, x_title: str) -> Figure:
    """Draws a dot for each label, in order of their numbers.

    Args:
      values: label -> number.
      marked: a label whose dot stands out.
      x_title: says what the numbers are.
    """
    names = sorted(values, key=values.__getitem__)
    figure = make_figure(6.4, 0.9 + 0.2 * len(names))
    axes = figure.add_subplot()
    frame(axes)
    axes.axvline(0.0, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    for place, name in enumerate(names):
        style = curve_style(name == marked)
        axes.plot(values[name], place, color=style["color"], marker=style["marker"], markersize=6)
    axes.set_yticks(range(len(names)), [plain(name) for name in names], color=INK, fontsize=9)
    axes.set_xlabel(x_title, color=INK, fontsize=10)
    return figure


def radar(values: Mapping[str, np.ndarray], spokes: Sequence[str], y_title: str) -> Figure:
    """Draws a ring for each label.

    Args:
      values: label -> (spoke,) numbers.
      spokes: their names.
      y_title: says what the numbers are.
    """
    figure = make_figure(6.4, 4.2)
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    turn = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    everything = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    room = 0.15 * max(np.ptp(everything), 0.5)
    axes.set_ylim(everything.min() - room, everything.max() + room)
    axes.set_xticks(turn, [plain(spoke) for spoke in spokes], color=INK, fontsize=11)
    axes.tick_params(axis="y", colors=INK, labelsize=8)
    axes.grid(True, color="#c9c9c9", linewidth=0.8)
    for number, (label, ring) in enumerate(values.items()):
        closed = np.append(turn, turn[0]), np.append(ring, ring[0])
        axes.plot(*closed, label=plain(label), linewidth=1.6, markersize=4, **curve_style(number))
    figure.supxlabel(y_title, color=INK, fontsize=9)
    legend(figure)
    return figure


def save(file: str | pathlib.Path, figure: Figure) -> None:
    """Writes a PNG file, whole or not at all."""
    with atomic.replacing(file) as partial:
        figure.savefig(partial, format="png", dpi=130)
