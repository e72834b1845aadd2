"""Every preference method on the testbed: tuned alike on validation, compared on clean test rows.

Each method has four trials: four learning rates, or two of them for each of two settings of its
own. The trial with the best mean, over `TUNING_SEEDS`, of the worst dimension's validation accuracy
is then run on seeds that no one has tuned on, and their test rows are read once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.stats

from benchmarks.conflict_problem import Dials
from benchmarks.conflict_training import World, accuracy, score, train
from dignified_jax.data import DIMENSIONS
from dignified_jax.objectives import (
    MODPO,
    SACPO,
    LagDPO,
    Method,
    MultiNegativeDPO,
    MultiStage,
    Objective,
    PCGradDPO,
    RewardedSoup,
    SafeRLHF,
    soup,
)
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.signals import Ema
from dignified_jax.objectives.duals.tolerances import Constant

DIALS = Dials(conflict=0.7, frequency=(0.25, 0.5, 1.0, 0.75), noise=(0.2, 0.1, 0.0, 0.1))
TUNING_SEEDS = (100, 101)
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LAGDPO = "Lag-DPO"

constant = functools.partial(LagDPO, schedule=Constant())
METHODS: dict[str, tuple[Any, ...]] = {
    LAGDPO: (
        constant(epsilon=(0.6,)),
        LagDPO(),
    ),
    "Lag-DPO, the paper's duals": (constant(controller=Ascent(0.1)),),
    "average of dimensions": (MultiNegativeDPO(),),
    "average of pairs": (MultiNegativeDPO(average="pair"),),
    "PCGrad": (PCGradDPO(),),
    "SafeRLHF": (SafeRLHF(), SafeRLHF(epsilon=0.6, dual_learning_rate=1.0)),
    "MODPO": (MODPO(),),
    "SACPO": (SACPO(groups=("EC", "AT")), SACPO(groups=("AT", "EC"))),
    "rewarded soup": (RewardedSoup(),),
}

# What Lag-DPO's multipliers do, and why: each differs from the first in one respect or two.
ABLATION: dict[str, LagDPO] = {
    "ε 0.5, rate 0.1 (the paper's)": constant(controller=Ascent(0.1)),
    "ε 0.5, rate 1": constant(),
    "ε 0.6, rate 0.1": constant(epsilon=(0.6,), controller=Ascent(0.1)),
    "ε 0.6, rate 1": constant(epsilon=(0.6,)),
    "ε 0.6, rate 1, normalised weights": constant(epsilon=(0.6,), normalize_weights=True),
    "ε 0.6, rate 1, EMA signal": constant(epsilon=(0.6,), signal=Ema()),
    "adaptive ε, rate 1 (defaults)": LagDPO(),
}
ABLATION_RATE = 1e-2


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting of a method and the learning rate it is trained with."""

    method: Any
    rate: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A method's line of the table, with its (seed, 4) test accuracies."""

    name: str
    accuracies: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """(seed,) test accuracy of each seed's worst dimension."""
        return self.accuracies.min(axis=1)


def trials(settings: Sequence[Any]) -> list[Trial]:
    """Four, whether a method has one setting or two."""
    rates = RATES if len(settings) == 1 else RATES[1:3]
    return [Trial(method, rate) for method in settings for rate in rates]


def policy(trial: Trial, world: World) -> Any:
    """The parameters that a trial's training ends with."""
    method, rate = trial.method, trial.rate
    policies = _stages(world, rate, method)
    if isinstance(method, MultiStage):
        return soup.combine(policies, method.shares(DIMENSIONS))
    if method.needs_rewards:
        reference = score(world.params, world.train)
        rewards = [method.beta * (score(params, world.train) - reference) for params in policies]
        return train(world, method, rate, rewards=jnp.stack(rewards, axis=-1))[0]
    return train(world, method, rate)[0]


def _stages(world: World, rate: float, method: Method) -> list[Any]:
    """The policies of a method's stages, in order."""
    policies: list[Any] = []
    for stage in method.stages(DIMENSIONS):
        if stage.start is None:
            policies.append(_first(world, rate, stage.objective))
        else:
            policies.append(train(world, stage.objective, rate, params=policies[stage.start])[0])
    return policies


@functools.lru_cache(maxsize=16)
def _first(world: World, rate: float, objective: Objective) -> Any:
    """The policy of a stage that begins with the first model; several methods share some."""
    return train(world, objective, rate)[0]


def tune(names: Sequence[str], log: Callable[[str], None] = print) -> dict[str, Trial]:
    """The best trial of each method on `TUNING_SEEDS` of the problem with `DIALS`."""
    worlds = [World.make(DIALS, seed) for seed in TUNING_SEEDS]
    chosen = {}
    for name in names:
        candidates = trials(METHODS[name])
        scores = [_validation(trial, worlds) for trial in candidates]
        best = int(np.argmax(scores))
        chosen[name] = candidates[best]
        log(f"{name}: validation {np.round(scores, 3)}, chosen {candidates[best]}")
    return chosen


def compare(
    chosen: Mapping[str, Trial],
    seeds: Sequence[int],
    dials: Dials = DIALS,
    log: Callable[[str], None] = print,
) -> list[Row]:
    """Trains each method on `seeds` of the problem with `dials` and reads their test rows."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    for seed in seeds:
        world = World.make(dials, seed)
        for name, trial in chosen.items():
            found[name].append(accuracy(policy(trial, world), world, "test"))
        log(
            f"seed {seed}: worst "
            + str({n: round(float(a[-1].min()), 3) for n, a in found.items()})
        )
    return [Row(name, np.array(accuracies)) for name, accuracies in found.items()]


def _validation(trial: Trial, worlds: Sequence[World]) -> float:
    worst = [accuracy(policy(trial, world), world, "validation").min() for world in worlds]
    return float(np.mean(worst))


def ablate() -> list[tuple[str, float, np.ndarray]]:
    """(variant, mean worst validation accuracy, (4,) mean last lambda) over the tuning seeds."""
    worlds = [World.make(DIALS, seed) for seed in TUNING_SEEDS]
    rows = []
    for name, method in ABLATION.items():
        runs = [(world, *train(world, method, ABLATION_RATE)) for world in worlds]
        worst = [accuracy(params, world, "validation").min() for world, params, _ in runs]
        multipliers = np.mean([state.multipliers for _, _, state in runs], axis=0)
        rows.append((name, float(np.mean(worst)), multipliers))
    return rows


def interval(values: np.ndarray) -> tuple[float, float]:
    """(mean, half width of the 95% t interval) of a sample (n,)."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return float(values.mean()), float(half)


def table(rows: Sequence[Row]) -> str:
    """Markdown: accuracy of each dimension and of the worst, and Lag-DPO's paired lead in it."""
    lead = next(row for row in rows if row.name == LAGDPO).worst
    head = [*DIMENSIONS, "worst dimension", f"{LAGDPO}'s lead", "below chance"]
    lines = [f"| method | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for row in rows:
        cells = [_cell(*interval(row.accuracies[:, k])) for k in range(len(DIMENSIONS))]
        cells.append(_cell(*interval(row.worst)))
        cells.append("-" if row.name == LAGDPO else _cell(*interval(lead - row.worst), sign=True))
        below = [
            d for d, mean in zip(DIMENSIONS, row.accuracies.mean(0), strict=True) if mean < 0.5
        ]
        cells.append(", ".join(below) or "none")
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(mean: float, half: float, sign: bool = False) -> str:
    return f"{mean:+.3f} ± {half:.3f}" if sign else f"{mean:.3f} ± {half:.3f}"
