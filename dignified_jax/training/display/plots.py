"""Plots of a run from its metrics.jsonl and config.json: losses, lambda, margins, accuracies.

    plots.write("runs/lagdpo-tiny")     # any run directory, finished or not, as often as wanted

Readable on paper, in grey and on a dark page: the white background is part of the picture, and
every dimension has a colour (Okabe and Ito's, which colour-blind readers tell apart), a line style
and a marker of its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dignified_jax.data import DIMENSIONS
from dignified_jax.training.run import directory as run_directory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

PLOTS_DIRECTORY = "plots"
# Curves of more points are drawn faintly, with the means of so many equal parts over them.
PARTS = 60
_INK, _GRID = "#222222", "#e3e3e3"
_NAMES = {"A": "anti-sycophancy", "T": "trustworthiness", "E": "empathy", "C": "creativity"}
_STYLES: dict[str, dict[str, Any]] = {
    "A": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "T": {"color": "#D55E00", "linestyle": (0, (6, 2)), "marker": "s"},
    "E": {"color": "#009E73", "linestyle": (0, (6, 2, 1, 2)), "marker": "^"},
    "C": {"color": "#CC79A7", "linestyle": (0, (1.5, 1.5)), "marker": "D"},
}


@dataclasses.dataclass(frozen=True)
class _Curve:
    """Finite values of one metric and the optimiser steps they were logged at, both (point,)."""

    steps: np.ndarray
    values: np.ndarray

    def means(self) -> _Curve:
        """Of `PARTS` parts of equally many points."""
        parts = zip(
            np.array_split(self.steps, PARTS), np.array_split(self.values, PARTS), strict=True
        )
        return _Curve(*np.array([(steps.mean(), values.mean()) for steps, values in parts]).T)


def write(workdir: str | pathlib.Path) -> list[pathlib.Path]:
    """Draws what the run in `workdir` has logged so far, into `workdir`/plots.

    losses.png; for methods that have them lambda.png, margins.png and accuracies.png. Without a
    logged value there is no plot.

    Returns:
      The files written.

    Raises:
      FileNotFoundError: `workdir` has no config.json or no metrics.jsonl.
      ValueError: a line of metrics.jsonl, other than the last, is damaged.
    """
    workdir = pathlib.Path(workdir)
    method = json.loads((workdir / run_directory.CONFIG_FILE).read_text(encoding="utf-8"))["method"]
    records = run_directory.read_metrics(workdir)
    figures = {
        "losses": _panels(records, "loss", "loss", _tolerances(records, method)),
        "lambda": _overlay(records, "lambda", "multiplier λ"),
        "margins": _panels(records, "rewards/margins", "reward margin"),
        "accuracies": _panels(records, "rewards/accuracies", "preference accuracy"),
    }
    folder = workdir / PLOTS_DIRECTORY
    files = []
    for name, figure in figures.items():
        if figure is None:
            continue
        folder.mkdir(exist_ok=True)
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], format="png", dpi=150)
    return files


def _curves(records: list[dict[str, float]], key: str) -> dict[str, _Curve]:
    """Dimension -> curve of "key/dimension", for the dimensions that have a finite value."""
    curves = {}
    for dimension in DIMENSIONS:
        name = f"{key}/{dimension}"
        points = [(r["step"], r[name]) for r in records if math.isfinite(r.get(name, math.nan))]
        if points:
            curves[dimension] = _Curve(*np.array(points, float).T)
    return curves


def _tolerances(records: list[dict[str, float]], method: Mapping[str, Any]) -> dict[str, _Curve]:
    """Dimension -> epsilon as it was logged, or the method's constant ones that are finite."""
    logged = _curves(records, "epsilon")
    if logged:
        return logged
    values = method.get("epsilon", ())
    if isinstance(values, float):  # one for the constrained dimensions together
        values = [values if constrained else math.inf for constrained in method["constrained"]]
    spread = values * len(DIMENSIONS) if len(values) == 1 else values
    pairs = zip(DIMENSIONS, spread, strict=False)
    ends = np.array([0.0, max((record["step"] for record in records), default=0)])
    return {
        dimension: _Curve(ends, np.full(2, value))
        for dimension, value in pairs
        if math.isfinite(value)
    }


def _panels(
    records: list[dict[str, float]],
    key: str,
    label: str,
    limits: Mapping[str, _Curve] | None = None,
) -> Figure | None:
    """A panel for each dimension, all of one scale: training, held-out points, and the limit."""
    training, held_out = _curves(records, key), _curves(records, f"eval/{key}")
    if not training:
        return None
    last = max(curve.steps[-1] for curve in training.values())
    columns = min(len(training), 2)
    rows = -(-len(training) // columns)
    figure = _figure(0.6 + 4.0 * columns, 0.5 + 2.7 * rows)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (dimension, curve) in zip(grid, training.items(), strict=False):
        _frame(axes, last)
        _draw(axes, curve, dimension)
        if dimension in held_out:
            points = held_out[dimension]
            size = 7 if len(points.steps) <= 25 else 4
            style = _STYLES[dimension] | {"linestyle": "none", "markersize": size, "zorder": 4}
            style |= {"markeredgecolor": _INK, "label": "validation split"}
            axes.plot(points.steps, points.values, **style)
        title = f"{dimension}  {_NAMES[dimension]}"
        if limits and dimension in limits:
            limit = limits[dimension]
            style = {"color": _INK, "linestyle": ":", "linewidth": 1.6}
            axes.plot(limit.steps, limit.values, **style, label="tolerance ε")
            if np.ptp(limit.values) == 0:
                title += f"  (ε = {limit.values[0]:g})"
        axes.set_title(title, color=_INK, fontsize=11)
    for axes in grid[len(training) :]:
        axes.remove()
    for axes in grid[: len(training)][-columns:]:  # those with no panel below
        axes.tick_params(labelbottom=True)
    figure.supxlabel("optimiser step", color=_INK, fontsize=11)
    figure.supylabel(label, color=_INK, fontsize=11)
    for handle in _legend(figure).legend_handles:
        handle.set_color(_INK)  # the same in every panel but for the colour
    return figure


def _overlay(records: list[dict[str, float]], key: str, label: str) -> Figure | None:
    """All dimensions in one panel."""
    curves = _curves(records, key)
    if not curves:
        return None
    figure = _figure(7.5, 4.2)
    axes = figure.subplots()
    _frame(axes, max(curve.steps[-1] for curve in curves.values()))
    for dimension, curve in curves.items():
        # A few markers, at different places, tell lines apart that lie on one another.
        every = max(len(curve.steps) // 8, 1)
        offset = DIMENSIONS.index(dimension) * every // len(DIMENSIONS)
        axes.plot(
            *(curve.steps, curve.values),
            **_STYLES[dimension],
            **{"linewidth": 1.8, "markersize": 6, "markevery": (offset, every)},
            label=f"{dimension}  {_NAMES[dimension]}",
        )
    # Never negative, and often 0 throughout.
    top = max(0.1, *(curve.values.max() for curve in curves.values()))
    axes.set_ylim(-0.04 * top, 1.06 * top)
    _legend(figure)
    axes.set_xlabel("optimiser step", color=_INK, fontsize=11)
    axes.set_ylabel(label, color=_INK, fontsize=11)
    return figure


def _draw(axes: Axes, curve: _Curve, dimension: str) -> None:
    """A training curve; a long one faintly, with its means over it."""
    long = len(curve.steps) > PARTS
    style = {"color": _STYLES[dimension]["color"], "label": "training batch"}
    style |= {"alpha": 0.3, "linewidth": 0.7} if long else {"linewidth": 1.6}
    axes.plot(curve.steps, curve.values, **style, marker="." if len(curve.steps) < 3 else "")
    if long:
        means = curve.means()
        style |= {"alpha": 1.0, "linewidth": 2.0, "label": f"its mean over 1/{PARTS} of the run"}
        axes.plot(means.steps, means.values, **style)


def _figure(width: float, height: float) -> Figure:
    # The object's own interface: no window, no pyplot, no state that others share.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def _frame(axes: Axes, last_step: float) -> None:
    """Explicit colours, whatever the user's own style sheet says; steps from 0 on."""
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor("white")
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.set_xlim(0.0, 1.02 * last_step)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    for side, spine in axes.spines.items():
        spine.set_color(_INK)
        spine.set_visible(side in ("left", "bottom"))


def _legend(figure: Figure) -> Legend:
    """Above the panels, where it hides nothing; an entry that several have stands there once."""
    entries = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return figure.legend(
        entries.values(),
        entries.keys(),
        **{"loc": "outside upper center", "ncols": len(entries), "handlelength": 3.5},
        **{"fontsize": 9, "frameon": False, "labelcolor": _INK},
    )
