"""Figures of the conflict testbed."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.conflict_gradients import Gradients, Step
from benchmarks.conflict_kkt import Optimum
from benchmarks.conflict_lengths import AVERAGE, Length
from benchmarks.conflict_methods import Row, interval
from dignified_jax.data import DIMENSIONS

# Okabe and Ito's colours, with a marker each.
_STYLES = {
    "A": ("#0072B2", "o"),
    "T": ("#D55E00", "s"),
    "E": ("#009E73", "^"),
    "C": ("#CC79A7", "D"),
}
_INK = "#222222"


def propositions(
    path: pathlib.Path,
    sweep: Sequence[tuple[Gradients, Step]],
    one: Gradients,
    steps: Sequence[Step],
) -> None:
    """Measured points on the formulas' lines: F.1 over rho; F.2 and the progress over lambda.

    Squared norms are in units of a b, the product of the two gradients' norms.
    """
    figure, (first, second, third) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    by_rho = sorted(sweep, key=lambda pair: pair[0].rho)
    rho = [gradients.rho for gradients, _ in by_rho]
    scale = [gradients.raised * gradients.satisfied for gradients, _ in by_rho]
    formula = [g.squared_norm(0.0) / s for (g, _), s in zip(by_rho, scale, strict=True)]
    measured = [step.squared_norm / s for (_, step), s in zip(by_rho, scale, strict=True)]
    first.plot(rho, formula, color=_INK, label="formula, measured norms")
    line = np.linspace(min(rho), max(rho), 2)
    first.plot(
        line, (1.0 - line) / 2.0, color="#999999", linestyle=":", label="(1 - rho) / 2, equal norms"
    )
    first.plot(rho, measured, "o", color=_STYLES["A"][0], label="measured")
    first.set(title="F.1: averaging", xlabel="rho, minus the measured cosine", ylabel="|g|² / ab")

    multipliers = [step.multiplier for step in steps]
    fine = np.linspace(0.0, max(multipliers), 100)
    product = one.raised * one.satisfied
    second.plot(fine, [one.squared_norm(x) / product for x in fine], color=_INK, label="formula")
    second.plot(
        multipliers,
        [s.squared_norm / product for s in steps],
        "o",
        color=_STYLES["A"][0],
        label="measured",
    )
    second.set(title=f"F.2: Lag-DPO, rho = {one.rho:.2f}", xlabel="λ", ylabel="|g|² / ab")

    for name, index in (("raised", 0), ("satisfied", 1)):
        color, marker = _STYLES["A" if name == "raised" else "E"]
        third.plot(fine, [one.progress(x)[index] / product for x in fine], color=color)
        third.plot(
            multipliers,
            [getattr(s, name) / product for s in steps],
            marker,
            color=color,
            label=f"{name}, one SGD step",
        )
    third.axhline(0.0, color="#999999", linewidth=0.8)
    third.axvline(one.threshold, color=_INK, linestyle="--", label="it worsens beyond")
    third.set(title="progress of each dimension", xlabel="λ", ylabel="fall of L per rate / ab")
    for axes in (first, second, third):
        axes.legend(fontsize=8)
    _save(figure, path)


def methods(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Each dimension's mean test accuracy by method, and the worst one's with its 95% interval."""
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    places = np.arange(len(rows))
    for k, dimension in enumerate(DIMENSIONS):
        color, marker = _STYLES[dimension]
        means = [row.accuracies[:, k].mean() for row in rows]
        axes.plot(means, places, marker, color=color, label=dimension)
    worst = np.array([interval(row.worst) for row in rows])
    axes.errorbar(
        worst[:, 0],
        places + 0.25,
        xerr=worst[:, 1],
        fmt="|",
        color=_INK,
        capsize=3,
        label="worst, 95% interval",
    )
    axes.axvline(0.5, color="#999999", linestyle=":", label="chance")
    axes.set_yticks(places, [row.name for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel="test accuracy (clean labels)")
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    _save(figure, path)


def multipliers(path: pathlib.Path, history: np.ndarray, optimum: Optimum) -> None:
    """(step, 4) multipliers against SciPy's, dashed."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for k, dimension in enumerate(DIMENSIONS):
        color = _STYLES[dimension][0]
        axes.plot(history[:, k], color=color, label=f"λ of {dimension}")
        axes.axhline(optimum.multipliers[k], color=color, linestyle="--", linewidth=0.9)
    axes.set(xlabel="train step", ylabel="λ (dashed: SciPy)")
    axes.legend(fontsize=8)
    _save(figure, path)


def lengths(path: pathlib.Path, found: Sequence[Length]) -> None:
    """Lambda of A by the share of the run, a panel for each rule and a curve for each length."""
    rules = [rule for rule in dict.fromkeys(one.rule for one in found) if rule != AVERAGE]
    columns = -(-len(rules) // 2)
    figure, grid = plt.subplots(
        2, columns, figsize=(2.8 * columns, 5.6), sharex=True, sharey=True, layout="constrained"
    )
    panels = grid.ravel()
    for axes in panels[len(rules) :]:
        axes.set_visible(False)
    for axes, rule in zip(panels, rules, strict=False):
        own = [one for one in found if one.rule == rule]
        for (color, _), one in zip(_STYLES.values(), own, strict=False):
            share = np.arange(1, one.steps + 1) / one.steps
            axes.plot(share, one.path[:, 0], color=color, label=f"{one.steps} steps")
        axes.set(title=rule)
    figure.supxlabel("share of the run")
    figure.supylabel("λ of A, mean over seeds")
    panels[0].legend(fontsize=8)
    _save(figure, path)


def _save(figure: plt.Figure, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
