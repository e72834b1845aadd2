"""Figures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dignified_jax.comparison.results import Results
from dignified_jax.comparison.statistics import CONFIDENCE, Interval
from dignified_jax.console.figure import INK, curve_style, frame, legend, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def radar(results: Results) -> Figure:
    """A panel for each method: its accuracies, and in outline those of `results.against`."""
    names, dimensions = list(results.means), list(results.longer)
    columns = min(len(names), 4)
    rows = math.ceil(len(names) / columns)
    width = max(0.3 + 2.9 * columns, 6.4)
    spokes, key = _spokes(dimensions, width)
    figure = make_figure(width, 0.8 + 2.9 * rows + 0.17 * len(key))
    if key:
        figure.supxlabel("\n".join(key), color=INK, fontsize=8)
    figure.get_layout_engine().set(h_pad=0.1)
    lowest = min(_accuracies(results, name).min() for name in names)
    floor = min(math.floor(10 * lowest - 1e-9) / 10, 0.9)
    rings = np.arange(1.0, floor, -0.1 if floor > 0.3 else -0.2)[::-1]
    turn = np.linspace(0, 2 * np.pi, len(dimensions), endpoint=False)
    other = curve_style(names.index(results.against)) | {"marker": "", "linewidth": 1.4}
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1, projection="polar")
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        axes.set_facecolor("white")
        axes.set_ylim(floor, 1.0)
        axes.set_xticks(turn, spokes, color=INK, fontsize=11)
        axes.set_yticks(rings, [f"{ring:.1f}" for ring in rings], color=INK, fontsize=7)
        axes.set_rlabel_position(180 / len(dimensions))
        axes.grid(True, color="#c9c9c9", linewidth=0.8)
        axes.spines["polar"].set_color(INK)
        if name != results.against:
            axes.plot(*_closed(turn, _accuracies(results, results.against)), **other)
        style = curve_style(number)
        ring = _closed(turn, _accuracies(results, name))
        axes.plot(*ring, **style | {"linewidth": 2.0, "markersize": 5})
        axes.fill(*ring, color=style["color"], alpha=0.15)
        axes.set_title(name, color=INK, fontsize=11)
    outline = f"; thin outline: {results.against}" if len(names) > 1 else ""
    figure.suptitle(
        f"preference accuracy by dimension, mean of {_seeds(results)}{outline}\n"
        f"(centre {floor:g}, edge 1)",
        **{"color": INK, "fontsize": 10},
    )
    return figure


def _spokes(dimensions: list[str], width: float) -> tuple[list[str], list[str]]:
    """Labels of the spokes: names, or numbers and the lines of their key where those are long."""
    if len(dimensions) <= 8 and max(map(len, dimensions)) <= 3:
        return dimensions, []
    numbers = [str(number) for number in range(1, len(dimensions) + 1)]
    lines = [""]
    for number, name in zip(numbers, dimensions, strict=True):
        entry = f"{number}\u00a0{name}"
        joined = f"{lines[-1]}    {entry}" if lines[-1] else entry
        if len(joined) <= 13 * width:  # characters of this size in the figure
            lines[-1] = joined
        else:
            lines.append(entry)
    return numbers, lines


def pareto(results: Results) -> Figure:
    """Worst-dimension accuracy against KL to the first model, and the methods none outdoes."""
    figure = make_figure(7.5, 5.0)
    axes = figure.subplots()
    frame(axes)
    points = {name: (means["kl"], means["worst_accuracy"]) for name, means in results.means.items()}
    front = frontier({name: (kl.mean, worst.mean) for name, (kl, worst) in points.items()})
    line = np.array([(points[name][0].mean, points[name][1].mean) for name in front])
    if len(front) > 1:
        style = {"color": "#9a9a9a", "linewidth": 1.2, "zorder": 1, "label": "Pareto front"}
        axes.step(*line.T, where="post", **style)
    for number, (name, (kl, worst)) in enumerate(points.items()):
        style = curve_style(number) | {"linestyle": "none", "markersize": 8, "markeredgecolor": INK}
        axes.errorbar(
            *(kl.mean, worst.mean),
            **{"xerr": _bar(kl), "yerr": _bar(worst), "elinewidth": 1.0, "capsize": 2.5},
            **style,
            label=name,
        )
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_ylim(top=min(1.02, axes.get_ylim()[1]))
    axes.set_xlabel("KL(policy || first model), nats a token", color=INK, fontsize=11)
    axes.set_ylabel("accuracy of the worst dimension", color=INK, fontsize=11)
    bars = f", bars: {CONFIDENCE:.0%} intervals" if len(results.seeds) > 1 else ""
    axes.set_title(f"mean of {_seeds(results)}{bars}", color=INK, fontsize=10)
    legend(figure)
    return figure


def frontier(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the (cost, value) points with no other of at most the cost and at least the value.

    In the order of their costs. Of equal points all stay.
    """

    def outdone(name: str) -> bool:
        cost, value = points[name]
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points.values())

    return sorted((name for name in points if not outdone(name)), key=lambda name: points[name])


def convergence(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], results: Results) -> Figure:
    """Mean curves of the worst dimension's validation loss.

    Args:
      curves: method -> (steps, means), of those that can be compared.
      results: gives every method the style that it has in the other figures.
    """
    figure = make_figure(7.5, 4.6)
    axes = figure.subplots()
    frame(axes)
    for number, name in enumerate(results.means):
        if name in curves:
            axes.plot(*curves[name], **curve_style(number), linewidth=1.8, markersize=5, label=name)
    axes.axhline(math.log(2), color=INK, linestyle=":", linewidth=1.2, label="log 2, untrained")
    axes.margins(y=0.06)
    axes.set_xlim(left=0)
    axes.set_xlabel("optimiser step", color=INK, fontsize=11)
    axes.set_ylabel("validation loss of the worst dimension", color=INK, fontsize=11)
    axes.set_title(f"mean of {_seeds(results)}", color=INK, fontsize=10)
    legend(figure)
    return figure


def _accuracies(results: Results, name: str) -> np.ndarray:
    return np.array([results.means[name][f"accuracy/{k}"].mean for k in results.longer])


def _closed(turn: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.append(turn, turn[0]), np.append(values, values[0])


def _bar(interval: Interval) -> float | None:
    return None if math.isnan(interval.half) else interval.half


def _seeds(results: Results) -> str:
    count = len(results.seeds)
    return f"{count} seed{'s' if count > 1 else ''}"
