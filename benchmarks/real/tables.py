"""Tables of the report: a set of rows' accuracies, leads and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.real import paired, results, training
from benchmarks.real.entries import ENTRIES, Setting
from benchmarks.real.results import Found
from dignified_jax.comparison import results as package_results


def scores(by_method: Mapping[str, Mapping[int, Found]], setting: Setting) -> str:
    """Returns accuracies, worst figures, KL and drift of each method, mean over its seeds."""
    conflict, dimensions = setting.conflict, setting.sizes.dimensions
    rows = []
    for method, runs in by_method.items():
        scored = [one.scored() for one in runs.values()]
        measured = [package_results.measures(one.score) for one in scored]
        drifts = [sum(one.test["drift"]) / len(one.test["drift"]) for one in runs.values()]

        def mean(name: str, measured: list[dict[str, float]] = measured) -> str:
            values = [one[name] for one in measured if name in one]
            return f"{sum(values) / len(values):.3f}" if values else "-"

        opposed = conflict.opposed
        parts = [_mean([results.unopposed_accuracy(one, opposed) for one in runs.values()])]
        parts += [
            _mean([results.part_accuracy(one, name, part) for one in runs.values()])
            for name in conflict.opposing
            for part in (False, True)
        ]
        rows.append(
            [
                *(ENTRIES[method].title, str(len(runs))),
                *(mean(f"accuracy/{k}") for k in dimensions),
                *parts,
                *(mean(name) for name in ("worst_accuracy", "worst_loss", "mean_accuracy")),
                " ".join(one.worst for one in scored),
                *(mean("kl"), f"{sum(drifts) / len(drifts):+.3f}"),
            ]
        )
    some = next(iter(next(iter(by_method.values())).values())).scored().score["dimensions"]
    longer = [f"{some[k]['longer']:.3f}" if k in some else "-" for k in dimensions]
    lowest = min(row["longer"] for row in some.values())
    of_parts = [f"{conflict.opposed}, own"]
    of_parts += [f"{name}, {part}" for name in conflict.opposing for part in ("own", "opposing")]
    rows.append(["longer", "-", *longer, *["-"] * len(of_parts), f"{lowest:.3f}", *["-"] * 5])
    header = ["method", "seeds", *dimensions, *of_parts]
    header += ["worst accuracy", "worst loss", "mean accuracy", "worst by seed", "KL", "drift"]
    return table(header, rows) + (
        "\n\nKL(policy || first model) and drift (log pi - log pi_ref of the golden replies), nats "
        "a token."
    )


def losses(by_method: Mapping[str, Mapping[int, Found]], setting: Setting) -> str:
    """Returns the losses on test rows and at the end of training, and the last multipliers.

    What a constraint sees are training losses; those of the test fall behind them where a dimension
    does not carry over to other prompts.
    """
    dimensions, rows = setting.sizes.dimensions, []
    for method, runs in by_method.items():
        scored = [one.scored().score["dimensions"] for one in runs.values()]
        trained = [training.last_losses(setting, one.run) for one in runs.values()]
        paths = [training.multipliers(setting, one.run) for one in runs.values()]
        cells = [_mean([own[k]["loss"] for own in scored if k in own]) for k in dimensions]
        cells += [_mean([own[k] for own in trained if k in own]) for k in dimensions]
        cells += [_mean([path[-1][k] for path in paths if path]) for k in dimensions]
        rows.append([ENTRIES[method].title, *cells])
    groups = ("test", "training", "last λ")
    header = ["losses", *(f"{group}: {k}" for group in groups for k in dimensions)]
    return table(header, rows) + (
        f"\n\nNats, means over seeds; of training over the last {training.LAST_SHARE:.0%} of the "
        "steps. An SFT loss is not a DPO loss."
    )


def leads(found: Mapping[str, tuple[int, Mapping[str, paired.Lead]]]) -> str:
    """Returns Lag-DPO's leads over each method in every measure."""
    if not found:
        return "No contrast yet."
    rows = [
        [ENTRIES[method].title, str(seeds), *map(_lead, own.values())]
        for method, (seeds, own) in found.items()
    ]
    measures = next(iter(found.values()))[1]
    return table(["Lag-DPO minus", "seeds", *measures], rows)


def _lead(lead: paired.Lead) -> str:
    seeds = "" if math.isnan(lead.seeds.half) else f" ± {lead.seeds.half:.3f}"
    star = " \\*" if lead.clear else ""
    return f"{lead.mean:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]{seeds}{star}"


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.3f}" if known else "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
