"""What was found so far: test figures of the chosen runs, by rows, method and seed."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.real import paired, plan, scoring, training
from benchmarks.real.entries import LAGDPO, RunId, Setting
from benchmarks.real.plan import Contrast, Group
from benchmarks.real.rows import Conflict
from dignified_jax.comparison.results import ScoredRun
from dignified_jax.data import DIMENSIONS


@dataclasses.dataclass(frozen=True)
class Found:
    """A chosen run and its test figures."""

    run: RunId
    test: dict[str, Any]

    @property
    def pairs(self) -> dict[str, Any]:
        """Its pairs, as `scoring.figures` gives them."""
        return self.test["pairs"]

    def scored(self) -> ScoredRun:
        """Returns the same as the package's comparison has it."""
        figures = paired.once(self.pairs)
        dimension = np.array(self.pairs["dimension"])
        rows = {}
        for place, name in enumerate(DIMENSIONS):
            own = dimension == name
            if own.any():
                rows[name] = {
                    "pairs": int(own.sum()),
                    "loss": float(figures.loss[0, place]),
                    "accuracy": float(figures.accuracy[0, place]),
                    "margin": float(np.asarray(self.pairs["margin"])[own].mean()),
                    "longer": float(np.asarray(self.pairs["longer"])[own].mean()),
                }
        score = {"dimensions": rows, "kl": self.test["kl"], "beta": self.test["beta"]}
        return ScoredRun(self.run.method, self.run.seed, score)


Results = dict[Group, Found]


def learning_rates(
    setting: Setting, contrasts: Sequence[Contrast], rates: Sequence[float], first_seed: int
) -> dict[tuple[str, str], float]:
    """Returns (rows, method) -> the rate of its best trial, of those whose trials have ended."""
    found = {}
    for group in plan.groups(contrasts):
        if group.seed == first_seed:
            best = training.chosen(setting, plan.trials(group, rates))
            if best is not None:
                found[group.world, group.method] = best.rate
    return found


def gather(
    setting: Setting, contrasts: Sequence[Contrast], rates: dict[tuple[str, str], float]
) -> Results:
    """Returns the runs whose test rows were read."""
    found = {}
    for group in plan.groups(contrasts):
        rate = rates.get((group.world, group.method))
        if rate is None:
            continue
        run = RunId(group.world, group.method, rate, group.seed)
        if scoring.is_scored(setting, run):
            file = run.directory(setting.out) / scoring.FILE
            found[group] = Found(run, json.loads(file.read_text(encoding="utf-8")))
    return found


def of_world(results: Results, world: str) -> dict[str, dict[int, Found]]:
    """Returns method -> seed -> run, of the methods that have one."""
    found: dict[str, dict[int, Found]] = {}
    for group, one in results.items():
        if group.world == world:
            found.setdefault(group.method, {})[group.seed] = one
    return found


def leads(
    results: Results, world: str, conflict: Conflict
) -> dict[str, tuple[int, dict[str, paired.Lead]]]:
    """Returns method -> (number of seeds, measure -> Lag-DPO's lead), over common seeds."""
    by_method = of_world(results, world)
    own = by_method.get(LAGDPO, {})
    found = {}
    for method, runs in by_method.items():
        seeds = [seed for seed in own if seed in runs]
        if method == LAGDPO or not seeds:
            continue
        left, right = ([side[seed].pairs for seed in seeds] for side in (own, runs))
        of_measure = {
            name: paired.lead(left, right, figure)
            for name, figure in paired.measures(conflict).items()
        }
        found[method] = (len(seeds), of_measure)
    return found


def differing(results: Results) -> float | None:
    """Returns the mean share of pairs on which Lag-DPO and another method differ."""
    shares = []
    for group, one in results.items():
        left = results.get(Group(group.world, LAGDPO, group.seed))
        if left is not None and group.method != LAGDPO:
            shares.append(paired.differing(left.pairs, one.pairs))
    return float(np.mean(shares)) if shares else None


def clusters(found: Found) -> dict[str, tuple[int, int]]:
    """Returns dimension -> (pairs, prompts) of the test rows."""
    pairs = zip(found.pairs["dimension"], found.pairs["prompt"], strict=True)
    by_dimension = itertools.groupby(sorted(pairs), key=lambda pair: pair[0])
    listed = {name: [prompt for _, prompt in own] for name, own in by_dimension}
    return {name: (len(prompts), len(set(prompts))) for name, prompts in listed.items()}


def part_accuracy(found: Found, dimension: str, opposing: bool) -> float:
    """Returns the accuracy on the pairs of a dimension that oppose another's, or on the others."""
    margins = [
        margin
        for margin, name, part in zip(
            *(found.pairs[key] for key in ("margin", "dimension", "opposing")), strict=True
        )
        if name == dimension and part == opposing
    ]
    return float(np.mean((np.sign(margins) + 1) / 2)) if margins else float("nan")


def unopposed_accuracy(found: Found, dimension: str) -> float:
    """Returns the accuracy on the pairs of a dimension on whose prompts nothing opposes another."""
    pairs = found.pairs
    both_wanted = {
        prompt for prompt, part in zip(pairs["prompt"], pairs["opposing"], strict=True) if part
    }
    margins = [
        margin
        for margin, name, prompt in zip(
            *(pairs[key] for key in ("margin", "dimension", "prompt")), strict=True
        )
        if name == dimension and prompt not in both_wanted
    ]
    return float(np.mean((np.sign(margins) + 1) / 2)) if margins else float("nan")
