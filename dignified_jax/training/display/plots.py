"""Plots of a run from its metrics.jsonl and config.json: losses, lambda, margins, accuracies.

    plots.write("runs/lagdpo-tiny")     # any run directory, finished or not, as often as wanted

Readable on paper, in grey and on a dark page: the white background is part of the picture, and
every dimension has a colour (Okabe and Ito's, which colour-blind readers tell apart), a line style
and a marker of its own; beyond eight dimensions colours come again, with another style and marker.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dignified_jax.data import DIMENSIONS
from dignified_jax.training.run import continuation
from dignified_jax.training.run import directory as run_directory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

PLOTS_DIRECTORY = "plots"
# Curves of more points are drawn faintly, with the means of so many equal parts over them.
PARTS = 60
_INK, _GRID = "#222222", "#e3e3e3"
# Names of the default set, whose dimensions are letters.
_NAMES = dict(
    zip(
        DIMENSIONS,
        ("anti-sycophancy", "trustworthiness", "empathy", "creativity"),
        strict=True,
    )
)
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F"),
)
_LINES = ("-", (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
# Characters of a line of a panel's title, and the most dimensions in a legend above the panel.
_TITLE_WIDTH = 34
_MOST_ABOVE = 4
# Inches that the legend above panels takes.
_LEGEND_WIDTH = 6.0


@dataclasses.dataclass(frozen=True)
class _Curve:
    """Finite values of one metric and the optimiser steps they were logged at, both (point,)."""

    steps: np.ndarray
    values: np.ndarray

    def means(self) -> _Curve:
        """Returns the means of `PARTS` parts of equally many points."""
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
      ValueError: config.json is damaged.
    """
    workdir = pathlib.Path(workdir)
    config = continuation.read_config(workdir / run_directory.CONFIG_FILE)
    log = _Log(run_directory.read_metrics(workdir), tuple(config["data"]["dimensions"]))
    figures = {
        "losses": _panels(log, "loss", "loss", _tolerances(log, config["method"])),
        "lambda": _overlay(log, "lambda", "multiplier λ"),
        "margins": _panels(log, "rewards/margins", "reward margin"),
        "accuracies": _panels(log, "rewards/accuracies", "preference accuracy"),
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


@dataclasses.dataclass(frozen=True)
class _Log:
    """The records of metrics.jsonl, and the dimensions of the run."""

    records: list[dict[str, float]]
    dimensions: tuple[str, ...]

    def curves(self, key: str) -> dict[str, _Curve]:
        """Returns the curves of "key/dimension", for the dimensions that have a finite value."""
        curves = {}
        for dimension in self.dimensions:
            name = f"{key}/{dimension}"
            points = [
                (record["step"], record[name])
                for record in self.records
                if math.isfinite(record.get(name, math.nan))
            ]
            if points:
                curves[dimension] = _Curve(*np.array(points, float).T)
        return curves

    def style(self, dimension: str) -> dict[str, Any]:
        """Returns the colour, line style and marker of a dimension."""
        number = self.dimensions.index(dimension)
        return {
            "color": _COLOURS[number % len(_COLOURS)],
            "linestyle": _LINES[number % len(_LINES)],
            "marker": _MARKERS[number % len(_MARKERS)],
        }

    def label(self, dimension: str) -> str:
        """Returns a dimension's name for a person."""
        known = self.dimensions == DIMENSIONS
        return f"{dimension}  {_NAMES[dimension]}" if known else dimension


def _tolerances(log: _Log, method: Mapping[str, Any]) -> dict[str, _Curve]:
    """Dimension -> epsilon as it was logged, or the method's constant ones that are finite."""
    logged = log.curves("epsilon")
    if logged:
        return logged
    values = method.get("epsilon")
    if isinstance(values, float):  # one for the constrained dimensions together
        chosen = method.get("constrained", ())
        values = [values if constrained else math.inf for constrained in chosen]
    if not isinstance(values, list):  # of a method that is not ours: no tolerances
        return {}
    spread = values * len(log.dimensions) if len(values) == 1 else values
    pairs = zip(log.dimensions, spread, strict=False)
    ends = np.array([0.0, max((record["step"] for record in log.records), default=0)])
    return {
        dimension: _Curve(ends, np.full(2, value))
        for dimension, value in pairs
        if math.isfinite(value)
    }


def _panels(
    log: _Log, key: str, label: str, limits: Mapping[str, _Curve] | None = None
) -> Figure | None:
    """A panel for each dimension, all of one scale: training, held-out points, and the limit."""
    training, held_out = log.curves(key), log.curves(f"eval/{key}")
    if not training:
        return None
    last = max(curve.steps[-1] for curve in training.values())
    columns = _columns(len(training))
    rows = -(-len(training) // columns)
    figure = _figure(max(0.6 + 4.0 * columns, _LEGEND_WIDTH), 0.5 + 2.7 * rows)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, (dimension, curve) in zip(grid, training.items(), strict=False):
        _frame(axes, last)
        _draw(axes, curve, log.style(dimension)["color"])
        if dimension in held_out:
            points = held_out[dimension]
            size = 7 if len(points.steps) <= 25 else 4
            style = log.style(dimension) | {"linestyle": "none", "markersize": size, "zorder": 4}
            style |= {"markeredgecolor": _INK, "label": "validation split"}
            axes.plot(points.steps, points.values, **style)
        title = _wrapped(log.label(dimension))
        if limits and dimension in limits:
            limit = limits[dimension]
            style = {"color": _INK, "linestyle": ":", "linewidth": 1.6}
            axes.plot(limit.steps, limit.values, **style, label="tolerance ε")
            if np.ptp(limit.values) == 0:
                value = f"(ε = {limit.values[0]:g})"
                room = len(title) + 2 + len(value) <= _TITLE_WIDTH
                title += ("  " if room else "\n") + value
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


def _columns(panels: int) -> int:
    """At most two, as pages are narrow; more where they would be a long column."""
    return min(panels, 2 if panels <= 4 else 3 if panels <= 9 else 4)


def _wrapped(title: str) -> str:
    """A title in lines of at most `_TITLE_WIDTH` characters, within a long name if need be."""
    lines = [""]
    for word in title.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= _TITLE_WIDTH:
            lines[-1] = joined
        else:
            lines += [word[i : i + _TITLE_WIDTH] for i in range(0, len(word), _TITLE_WIDTH)]
    return "\n".join(line for line in lines if line)


def _overlay(log: _Log, key: str, label: str) -> Figure | None:
    """All dimensions in one panel."""
    curves = log.curves(key)
    if not curves:
        return None
    labels = {dimension: _wrapped(log.label(dimension)) for dimension in curves}
    above = len(curves) <= _MOST_ABOVE and sum(map(len, labels.values())) <= 3 * _TITLE_WIDTH
    # Beside the panel the legend takes about so many inches.
    beside = (
        0.0
        if above
        else 1.0 + 0.085 * max(len(max(t.split("\n"), key=len)) for t in labels.values())
    )
    lines = sum(text.count("\n") + 1 for text in labels.values())
    figure = _figure(7.5 + beside, 4.2 if above else max(4.2, 0.4 + 0.22 * lines))
    axes = figure.subplots()
    _frame(axes, max(curve.steps[-1] for curve in curves.values()))
    for dimension, curve in curves.items():
        # A few markers, at different places, tell lines apart that lie on one another.
        every = max(len(curve.steps) // 8, 1)
        offset = log.dimensions.index(dimension) * every // len(log.dimensions)
        axes.plot(
            *(curve.steps, curve.values),
            **log.style(dimension),
            **{"linewidth": 1.8, "markersize": 6, "markevery": (offset, every)},
            label=labels[dimension],
        )
    # Never negative, and often 0 throughout.
    top = max(0.1, *(curve.values.max() for curve in curves.values()))
    axes.set_ylim(-0.04 * top, 1.06 * top)
    _legend(figure, above=above)
    axes.set_xlabel("optimiser step", color=_INK, fontsize=11)
    axes.set_ylabel(label, color=_INK, fontsize=11)
    return figure


def _draw(axes: Axes, curve: _Curve, color: str) -> None:
    """A training curve; a long one faintly, with its means over it."""
    long = len(curve.steps) > PARTS
    style = {"color": color, "label": "training batch"}
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


def _legend(figure: Figure, above: bool = True) -> Legend:
    """Above or beside the panels, where it hides nothing; what several have stands there once."""
    entries = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    return figure.legend(
        entries.values(),
        entries.keys(),
        **{"loc": "outside upper center" if above else "outside right upper"},
        **{"ncols": len(entries) if above else 1, "handlelength": 3.5},
        **{"fontsize": 9, "frameon": False, "labelcolor": _INK},
    )
