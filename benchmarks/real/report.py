"""The report of what was found so far: Markdown, JSON and figures."""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from benchmarks.real import (
    behaviour,
    figures,
    paired,
    plan,
    power,
    results,
    scoring,
    tables,
    training,
)
from benchmarks.real.entries import LAGDPO, Setting
from benchmarks.real.plan import Contrast
from benchmarks.real.results import Results
from dignified_jax.files import atomic

Counts = Mapping[str, Mapping[str, Mapping[str, int]]]


def write(
    setting: Setting,
    options: argparse.Namespace,
    contrasts: Sequence[Contrast],
    counts: Counts,
    found: Results,
) -> pathlib.Path:
    """Writes OUT/report.md, report.json and figures; returns the first."""
    out = setting.out
    leads = {world: results.leads(found, world, setting.conflict) for world in options.rows}
    pictures = _draw(out, options.rows, found, leads, setting)
    parts = [
        "# Lag-DPO on a real model",
        _what(setting, options, counts),
        "## Power",
        _power(found, options),
        *_worlds(setting, options, found, leads),
        *_behaviour(out),
        *(f"![{name}]({name}.png)" for name in pictures),
        "## What is done",
        _done(setting, options, contrasts),
        f"{_environment()}. `report.json` has every figure.",
    ]
    atomic.write_json(out / "report.json", _as_json(setting, options, found, leads))
    atomic.write_text(out / "report.md", "\n\n".join(parts) + "\n")
    return out / "report.md"


def _what(setting: Setting, options: argparse.Namespace, counts: Counts) -> str:
    layers = f" in the upper {setting.upper_layers} layers" if setting.upper_layers else ""
    lines = [
        f"`{pathlib.Path(setting.model).name}`, LoRA of rank {setting.rank}{layers}, "
        f"{setting.steps} steps "
        f"of {setting.batch_size} rows of at most {setting.sizes.max_length} tokens; learning "
        f"rates tried, each by each method with seed {options.seeds[0]}: "
        f"{', '.join(f'{rate:g}' for rate in options.rates)}"
        + ("; the best on validation rows is tested." if len(options.rates) > 1 else ".")
        + " Test rows are read once for each chosen run.",
        "",
    ]
    dimensions = setting.sizes.dimensions
    columns = (*dimensions, "opposing", "prompts")
    shown = [
        [world, split, *(str(own[name]) for name in columns)]
        for world, splits in counts.items()
        for split, own in splits.items()
    ]
    opposing = ", ".join(setting.conflict.opposing)
    header = ["rows", "split", *dimensions, f"of {opposing}: opposing", "prompts"]
    return "\n".join(lines) + tables.table(header, shown)


def _power(found: Results, options: argparse.Namespace) -> str:
    measured = results.differing(found)
    # Of two policies that hardly differ yet, nothing is learned of those that will.
    known = measured is not None and measured > power.Noise().differing / 5
    noise = power.Noise(differing=measured) if known else power.Noise()
    said = "measured" if known else "assumed"
    rows = []
    for seeds in (1, 3, 5, 10):
        needed = power.pairs_needed(power.LEAD, seeds, noise)
        have = [f"{power.least_lead(pairs, seeds, noise):.3f}" for pairs in (50, 150, 500, 2000)]
        rows.append([str(seeds), "never" if needed is None else str(needed), *have])
    header = [
        "seeds",
        f"pairs for {power.LEAD:g}",
        "least lead with 50",
        "150",
        "500",
        "2000 pairs",
    ]
    return (
        f"Pairs of one dimension, all on prompts of their own, that a lead of {power.LEAD:g} needs "
        "to be clear of 0 (95%) with a chance of 0.8, and the least lead that has this chance with "
        f"a number of pairs. Two policies differ on {noise.differing:.1%} of the pairs "
        f"({said}), leads differ between seeds by {noise.between_seeds:g} (assumed). Pairs on the "
        "same prompt count for less, down to one for a prompt. "
        f"{len(options.seeds)} seeds are planned.\n\n{tables.table(header, rows)}"
    )


def _worlds(
    setting: Setting,
    options: argparse.Namespace,
    found: Results,
    leads: Mapping[str, Mapping[str, tuple[int, Mapping[str, paired.Lead]]]],
) -> list[str]:
    parts = []
    for world in options.rows:
        by_method = results.of_world(found, world)
        if not by_method:
            parts += [f"## Rows: {world}", "Nothing was tested yet."]
            continue
        parts += [f"## Rows: {world}", tables.scores(by_method, setting)]
        parts += [tables.leads(leads[world]), tables.losses(by_method, setting)]
        some = next(iter(next(iter(by_method.values())).values()))
        tested = ", ".join(
            f"{k} {pairs} on {prompts}" for k, (pairs, prompts) in results.clusters(some).items()
        )
        parts.append(
            f"Test pairs, on prompts: {tested}. `longer` prefers the longer reply. Leads are of "
            "common seeds; in brackets the 95% interval under other prompts, then that over seeds; "
            "\\* both are clear of 0."
        )
    return parts


def _behaviour(out: pathlib.Path) -> list[str]:
    parts = []
    for kind, rows in behaviour.tables(out).items():
        columns = [name for name in rows[0] if not isinstance(rows[0][name], list)]
        shown = [[_cell(row.get(name, "")) for name in columns] for row in rows]
        parts += [f"## {kind}", tables.table(columns, shown)]
    return parts


def _cell(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:.4g}"


def _done(setting: Setting, options: argparse.Namespace, contrasts: Sequence[Contrast]) -> str:
    """A line a group, in their order, with the time of its runs."""
    rows = []
    for group in plan.groups(contrasts):
        first = group.seed == options.seeds[0]
        rates = results.learning_rates(setting, contrasts, options.rates, options.seeds[0])
        best = rates.get((group.world, group.method))
        every = plan.trials(group, options.rates if first or best is None else [best])
        ended = [run for run in every if training.is_trained(setting, run)]
        minutes = sum(training.seconds(setting, run) for run in every) / 60
        rate = "-" if best is None else f"{best:g}"
        state = f"{len(ended)} of {len(every)}"
        rows.append([group.world, group.method, str(group.seed), state, rate, f"{minutes:.1f}"])
    return tables.table(["rows", "method", "seed", "runs trained", "rate chosen", "minutes"], rows)


def _draw(
    out: pathlib.Path,
    worlds: Sequence[str],
    found: Results,
    leads: Mapping[str, Mapping[str, tuple[int, Mapping[str, paired.Lead]]]],
    setting: Setting,
) -> list[str]:
    drawn, paths = {}, {}
    for world in worlds:
        by_method = results.of_world(found, world)
        if by_method:
            drawn[f"accuracy_{world}"] = figures.accuracies(by_method, f"rows: {world}")
        if leads[world]:
            own = {method: measures for method, (_, measures) in leads[world].items()}
            drawn[f"lead_{world}"] = figures.leads(own, "worst accuracy", f"rows: {world}")
        if LAGDPO in by_method:
            path = training.multipliers(setting, next(iter(by_method[LAGDPO].values())).run)
            paths |= {world: path} if path else {}
    if paths:
        drawn["lambda"] = figures.multipliers(paths, setting.sizes.dimensions)
    for name, figure in drawn.items():
        figure.savefig(out / f"{name}.png", format="png", dpi=110)
    return list(drawn)


def _as_json(
    setting: Setting,
    options: argparse.Namespace,
    found: Results,
    leads: Mapping[str, Mapping[str, tuple[int, Mapping[str, paired.Lead]]]],
) -> dict[str, Any]:
    runs = [
        {
            **vars(one.run),
            **one.scored().score,
            "drift": sum(one.test["drift"]) / len(one.test["drift"]),
            "lambda": training.multipliers(setting, one.run),
        }
        for one in found.values()
    ]
    content = {
        "flags": {name: str(value) for name, value in vars(options).items()},
        "environment": _environment(),
        "runs": runs,
        "leads": {
            world: {
                method: {
                    name: {
                        **{"mean": lead.mean, "low": lead.low, "high": lead.high},
                        "by_seed": lead.by_seed,
                        "half_over_seeds": None if math.isnan(lead.seeds.half) else lead.seeds.half,
                        "seeds": seeds,
                    }
                    for name, lead in measures.items()
                }
                for method, (seeds, measures) in own.items()
            }
            for world, own in leads.items()
        },
        "behaviour": behaviour.tables(setting.out),
    }
    return json.loads(json.dumps(content))


def _environment() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "flax", "optax"))
    return f"Python {platform.python_version()}, {versions}, {scoring.device()}"
