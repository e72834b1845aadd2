"""How trained policies behave: refusals, sycophancy, utility, drift of states.

Each is a command of the package, run on the first model and on the policies of Lag-DPO and of
averaging (first seed), after all training, since they cost generation. A command that came to its
end is not run again. One that was stopped goes on with the responses in its files; drift and
utility, which keep nothing on the way, begin again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.real import adapter
from benchmarks.real.entries import AVERAGE, LAGDPO, RunId, Setting, rows_file
from benchmarks.real.results import Results

FIRST = "first model"
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Policy:
    """A model to look at.

    Attributes:
      name: fit for a directory.
      world: rows that it was trained on; None for the first model.
      path: of its weights.
    """

    name: str
    world: str | None
    path: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of files to measure on; what has no file is left out."""
    add = parser.add_argument_group("behaviour, measured last, of what a file is given for")
    add.add_argument("--xstest", help="xstest_prompts.csv")
    add.add_argument("--sycophancy", help="rows of SycophancyEval (JSON lines)")
    add.add_argument("--utility", help="task of lm_eval")
    add.add_argument("--utility_tasks", help="directory of task files (YAML)")
    add.add_argument("--vectors", help="vectors of `analyze vectors` on the first model")
    add.add_argument("--items", type=int, default=100, help="questions of each of them")
    add.add_argument("--new_tokens", type=int, default=64, help="of a response")


def policies(setting: Setting, found: Results, seed: int) -> list[Policy]:
    """Returns the first model, and those of Lag-DPO and averaging that are there."""
    trained = [
        Policy(f"{run.world} {run.method}", run.world, str(run.directory(setting.out)))
        for run in _looked_at(found, seed)
    ]
    return [Policy(FIRST, None, setting.model), *trained]


def _looked_at(found: Results, seed: int) -> list[RunId]:
    return [
        one.run
        for group, one in found.items()
        if group.seed == seed and group.method in (LAGDPO, AVERAGE)
    ]


def measure(
    setting: Setting, options: argparse.Namespace, found: Results, notify: Callable[[str], None]
) -> None:
    """Runs the commands that have not come to their end.

    Raises:
      RuntimeError: one failed; what it said is on the screen.
    """
    if setting.upper_layers is not None:
        for run in _looked_at(found, options.seeds[0]):
            adapter.complete(setting, run)
    for name, arguments, command in commands(setting, options, found):
        done = setting.out / "behaviour" / name / "done"
        if done.is_file():
            continue
        notify(f"behaviour: {name}")
        if command(arguments):
            raise RuntimeError(f"{name} failed: {' '.join(arguments)}")
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()


def commands(
    setting: Setting, options: argparse.Namespace, found: Results
) -> Iterator[tuple[str, list[str], Callable[[Sequence[str]], int]]]:
    """Yields (name, arguments, main) of each command, the cheapest first."""
    from dignified_jax import analyze
    from dignified_jax.evaluation.ood import __main__ as ood
    from dignified_jax.evaluation.utility import __main__ as utility

    every = policies(setting, found, options.seeds[0])
    place = setting.out / "behaviour"
    limit = ["--limit", str(options.items)]
    for world in options.rows:
        trained = [policy for policy in every if policy.world == world]
        if not trained:
            continue
        name = f"drift-{world}-{len(trained)}"
        arguments = ["drift", "--base", setting.model, "--workdir", str(place / name)]
        for policy in trained:
            arguments += ["--model", f"{policy.name}={policy.path}"]
        arguments += ["--prompts", str(rows_file(setting, world, "test"))]
        arguments += ["--most_prompts", str(options.items)]
        arguments += ["--vectors", options.vectors] if options.vectors else []
        yield name, arguments, analyze.main
    generated = ["--max_new_tokens", str(options.new_tokens), *limit]
    for kind in ("sycophancy", "xstest"):
        file = getattr(options, kind)
        for policy in every if file else []:
            name = f"{kind}-{policy.name}".replace(" ", "-")
            arguments = [kind, file, "--model", policy.path, "--name", policy.name]
            arguments += ["--out", str(place / name), *generated]
            yield name, arguments, ood.main
    for policy in every if options.utility else []:
        name = f"utility-{policy.name}".replace(" ", "-")
        arguments = ["--model", policy.path, "--name", policy.name, "--tasks", options.utility]
        arguments += ["--include", options.utility_tasks] if options.utility_tasks else []
        yield name, [*arguments, "--out", str(place / name), *limit], utility.main


def tables(out: pathlib.Path) -> dict[str, list[Row]]:
    """Returns kind -> rows of what the commands found: drift, sycophancy, xstest, utility."""
    found: dict[str, list[Row]] = {}
    for done in sorted((out / "behaviour").glob("*/done")):
        directory = done.parent
        kind = directory.name.split("-")[0]
        if kind == "drift":
            found.setdefault(kind, []).extend(_drift(directory / "drift.json"))
            continue
        for file in sorted(directory.glob("*.csv")):
            with file.open(encoding="utf-8", newline="") as lines:
                found.setdefault(kind, []).extend(csv.DictReader(lines))
    return found


def _drift(file: pathlib.Path) -> list[Row]:
    """A row a model: where its states moved most, and along the vectors."""
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = []
    for name, own in content["models"].items():
        cosine = own["cosine"]["value"]
        lowest = min(range(len(cosine)), key=cosine.__getitem__)
        row = {
            "model": name,
            "texts": own["texts"],
            "lowest cosine": cosine[lowest],
            "at layer": lowest,
            "last cosine": cosine[-1],
            "change by layer": own["change"]["value"],
        }
        for vector, shift in own["shifts"].items():
            row[f"along {vector}"] = shift["value"][shift["layer"]]
        rows.append(row)
    return rows
