"""The report of a comparison: Markdown, CSV, JSON and PNG."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dignified_jax.comparison import curves, export, figures, plan
from dignified_jax.comparison.plan import Comparison, Run
from dignified_jax.comparison.results import COMPARED, Results
from dignified_jax.comparison.statistics import CONFIDENCE, Interval, Paired
from dignified_jax.files import atomic
from dignified_jax.objectives import MultiStage
from dignified_jax.training import config as training_config

REPORT_DIRECTORY = "report"


def directory(comparison: Comparison) -> pathlib.Path:
    """Returns WORKDIR/report."""
    return pathlib.Path(comparison.workdir) / REPORT_DIRECTORY


def write(comparison: Comparison, runs: Sequence[Run], results: Results) -> pathlib.Path:
    """Writes report.md, summary.csv, runs.csv, results.json and the figures.

    Returns:
      WORKDIR/report.
    """
    place = directory(comparison)
    place.mkdir(parents=True, exist_ok=True)
    drawn = _curves(comparison, runs)
    pictures = {"radar": figures.radar(results), "pareto": figures.pareto(results)}
    if drawn:
        pictures["convergence"] = figures.convergence(drawn, results)
    for name, figure in pictures.items():
        figure.savefig(place / f"{name}.png", format="png", dpi=150)
    text = markdown(comparison, runs, results, tuple(pictures))
    atomic.write_text(place / "report.md", text)
    atomic.write_text(place / "summary.csv", export.summary_csv(results))
    atomic.write_text(place / "runs.csv", export.runs_csv(results))
    atomic.write_json(place / "results.json", export.as_json(comparison, results))
    return place


def markdown(
    comparison: Comparison, runs: Sequence[Run], results: Results, pictures: Sequence[str]
) -> str:
    """The report as text, with the figures of those names beside it."""
    config, dimensions = plan.scorer_config(comparison), list(results.longer)
    pairs = ", ".join(f"{k} {results.pairs[k]}" for k in dimensions)
    train = ", ".join(runs[0].config.data.train_sources)
    test = ", ".join(config.data.test_sources)
    parts = [
        "# Comparison of methods",
        f"From `{config.model.path}`, trained on `{train}`, scored on `{test}` (pairs: {pairs}) by "
        "DPO losses and margins at beta "
        f"{comparison.beta:g} against the first model, the same for all. Mean ± half of the "
        f"{CONFIDENCE:.0%} t interval over seeds {', '.join(map(str, results.seeds))}. Seeds "
        "change the order of the rows and the validation split; the first weights and the test "
        "rows stay, so an interval speaks of another training, not of another test set.",
        "## Worst dimension",
        summary(results),
        "The worst dimension is that of the least accuracy, and of the greatest loss; by seed the "
        "former is named. KL(policy || first model) is in nats a token, over all test responses.",
        *_difference_section(results),
        "## Accuracy by dimension",
        _by_dimension(results, "accuracy", ("worst_accuracy", "worst")),
        "`longer` prefers the longer answer and has seen no model."
        + "".join(
            f" {name} is the mean of {', '.join(ks)}." for name, ks in results.groups.items()
        ),
        "## Loss by dimension",
        _by_dimension(results, "loss", ("worst_loss", "worst")),
        "An untrained policy has log 2 = 0.6931 everywhere.",
        "## Reward margin by dimension",
        _by_dimension(results, "margin"),
        "## Figures",
        *(f"![{name}]({name}.png)" for name in pictures),
        *_left_out(comparison, runs),
        "## Methods",
        settings(comparison),
        *_several_stages(runs),
        "`results.json` has every field, score and interval.",
    ]
    return "\n\n".join(parts) + "\n"


def summary(results: Results) -> str:
    """The table of the worst dimension."""
    header = ["method", *COMPARED.values(), "worst by seed"]
    return _table(
        header,
        [
            [name, *(_shown(means[m]) for m in COMPARED), " ".join(results.worst[name])]
            for name, means in results.means.items()
        ],
    )


def settings(comparison: Comparison) -> str:
    """Returns a table of the fields that are not a method's default, or not the base's."""
    rows = []
    for name in comparison.methods:
        entry = dict(comparison.entries[name])
        method = entry.pop("method")
        usual = training_config.config_dict(method["name"]).method.to_dict()
        changes = {"method": plan.differences(usual, method)}
        changes |= plan.differences(comparison.base, entry)
        shown = " ".join(f"`{key}={_plain(value)}`" for key, value in _flat(changes).items())
        rows.append([name, method["name"], shown or "-"])
    return _table(["method", "objective", "other than its defaults and the base"], rows)


def _difference_section(results: Results) -> list[str]:
    if not results.paired:
        return []
    header = ["method", *(cell for name in COMPARED.values() for cell in (name, "p"))]
    rows = []
    for name, paired in results.paired.items():
        cells = [(_difference(paired[m]), _p(paired[m].p)) for m in COMPARED]
        rows.append([name, *(text for pair in cells for text in pair)])
    return [
        f"## {results.against} minus each method",
        _table(header, rows),
        "Differences of runs of the same seed. \\* the interval is clear of 0; p is of the paired "
        "t test, not corrected for the number of comparisons.",
    ]


def _by_dimension(results: Results, measure: str, last: tuple[str, str] | None = None) -> str:
    columns = [*results.longer, *results.groups]
    header = ["method", *columns, *(last[1:] if last else ())]
    rows = [
        [name, *(_shown(means[f"{measure}/{k}"]) for k in columns)]
        + ([_shown(means[last[0]])] if last else [])
        for name, means in results.means.items()
    ]
    if measure == "accuracy":
        single = results.longer
        longer = [*single.values(), *(_mean(single, ks) for ks in results.groups.values())]
        lowest = min(single.values())
        rows.append(["longer", *(f"{value:.4f}" for value in (*longer, lowest))])
    return _table(header, rows)


def _mean(values: Mapping[str, float], keys: Sequence[str]) -> float:
    """The mean over the keys that have a value."""
    known = [values[key] for key in keys if key in values]
    return sum(known) / len(known)


def _curves(comparison: Comparison, runs: Sequence[Run]) -> dict[str, Any]:
    """Method -> mean curve, of those that have comparable ones."""
    found = {}
    for name in comparison.methods:
        own = [run for run in runs if run.name == name]
        if curves.incomparable(own[0].config, comparison.beta) is None:
            steps, means = curves.mean_curve([curves.worst_losses(run) for run in own])
            if len(steps):
                found[name] = (steps, means)
    return found


def _left_out(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    first = {run.name: run.config for run in reversed(runs)}
    reasons = {
        name: curves.incomparable(first[name], comparison.beta) for name in comparison.methods
    }
    named = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
    return [f"Without a curve: {', '.join(named)}."] if named else []


def _several_stages(runs: Sequence[Run]) -> list[str]:
    """A line on what is not the same for all: the steps that a method takes."""
    methods = {run.name: run.config.method for run in runs}
    several = [
        name
        for name, method in methods.items()
        if isinstance(method, MultiStage) or method.needs_rewards
    ]
    if not several:
        return []
    return [f"Several policies, each trained for all epochs, go into: {', '.join(several)}."]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, aligned for a reader of the plain text too."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    cells = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(line) + " |" for line in (cells[0], rule, *cells[1:]))


def _shown(interval: Interval) -> str:
    half = "" if math.isnan(interval.half) else f" ± {interval.half:.4f}"
    return f"{interval.mean:.4f}{half}"


def _difference(paired: Paired) -> str:
    half = "" if math.isnan(paired.half) else f" ± {paired.half:.2g}"
    return f"{paired.mean:+.3g}{half}" + (" \\*" if paired.clear else "")


def _p(p: float) -> str:
    return "-" if math.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.4f}"


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in section.items():
        name = prefix + key
        flat |= _flat(value, name + ".") if isinstance(value, dict) else {name: value}
    return flat


def _plain(value: object) -> str:
    whole = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return f"{whole:g}" if isinstance(whole, float) else str(whole)
