"""Figures of the report: accuracies, leads, and the multipliers' paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.real.entries import ENTRIES, LAGDPO
from benchmarks.real.paired import Lead
from benchmarks.real.results import Found
from dignified_jax.console.figure import INK, curve_style, frame, legend, make_figure
from dignified_jax.data import DIMENSIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracies(by_method: Mapping[str, Mapping[int, Found]], title: str) -> Figure:
    """Accuracy of each dimension by method, mean over its seeds, and a mark for each seed."""
    figure = make_figure(7.5, 4.2)
    axes = figure.subplots()
    frame(axes)
    some = next(iter(next(iter(by_method.values())).values())).scored().score["dimensions"]
    dimensions = [k for k in DIMENSIONS if k in some]
    places = np.arange(len(dimensions))
    width = 0.8 / max(len(by_method), 1)
    for number, (method, runs) in enumerate(by_method.items()):
        rows = [one.scored().score["dimensions"] for one in runs.values()]
        values = np.array([[row[k]["accuracy"] for k in dimensions] for row in rows])
        at = places + (number - (len(by_method) - 1) / 2) * width
        colour = curve_style(number)["color"]
        axes.bar(at, values.mean(axis=0), width * 0.9, color=colour, label=ENTRIES[method].title)
        for row in values if len(values) > 1 else ():
            axes.plot(at, row, linestyle="none", marker="_", color=INK, markersize=6)
    axes.axhline(0.5, color=INK, linestyle=":", linewidth=1.2)
    axes.set_xticks(places, dimensions)
    axes.set_ylabel("accuracy on test pairs", color=INK, fontsize=11)
    axes.set_title(title, color=INK, fontsize=10)
    legend(figure)
    return figure


def leads(found: Mapping[str, Mapping[str, Lead]], measure: str, title: str) -> Figure:
    """Lag-DPO's lead over each method, with intervals over prompts (and over seeds, thin)."""
    figure = make_figure(7.5, 1.4 + 0.45 * len(found))
    axes = figure.subplots()
    frame(axes)
    for number, measures in enumerate(found.values()):
        lead = measures[measure]
        colour = curve_style(number)["color"]
        axes.plot([lead.low, lead.high], [number, number], color=colour, linewidth=3.0)
        axes.plot(lead.mean, number, color=INK, marker="o", markersize=6)
        if np.isfinite(lead.seeds.half):
            ends = lead.mean - lead.seeds.half, lead.mean + lead.seeds.half
            axes.plot(ends, [number + 0.2] * 2, color=colour, linewidth=1.2)
    axes.axvline(0.0, color=INK, linestyle=":", linewidth=1.2)
    axes.set_yticks(range(len(found)), [ENTRIES[method].title for method in found])
    axes.set_xlabel(f"Lag-DPO's lead in {measure}", color=INK, fontsize=11)
    axes.set_title(title, color=INK, fontsize=10)
    return figure


def multipliers(
    paths: Mapping[str, Sequence[Mapping[str, float]]], dimensions: Sequence[str]
) -> Figure:
    """Lambda of the dimensions by step, a panel for each set of rows."""
    figure = make_figure(3.9 * max(len(paths), 1) + 0.8, 3.4)
    panels = np.atleast_1d(figure.subplots(1, max(len(paths), 1), sharey=True))
    for axes, (world, path) in zip(panels, paths.items(), strict=False):
        frame(axes)
        for number, dimension in enumerate(dimensions):
            style = curve_style(number) | {"marker": ""}
            values = [step.get(dimension, np.nan) for step in path]
            axes.plot(np.arange(1, len(values) + 1), values, **style, label=dimension)
        axes.set_xlabel("optimiser step", color=INK, fontsize=11)
        axes.set_title(f"{ENTRIES[LAGDPO].title}, rows: {world}", color=INK, fontsize=10)
    panels[0].set_ylabel("λ", color=INK, fontsize=11)
    legend(figure)
    return figure
