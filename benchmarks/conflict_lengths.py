"""A dual rate for runs of any length: per step against per run, on runs of 27 to 750 steps.

Every run is three epochs, so that a longer one has more rows. Every rule trains with the same
learning rate on the same seeds. What a rule per step moves lambda
in a run grows with the steps, by a rule per run it does not; what that is worth is seen in the
worst dimension. Validation rows alone are read, whose labels are as noisy as the training rows'.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.conflict_methods import DIALS, interval
from benchmarks.conflict_training import BATCH, World, accuracy, train_path
from dignified_jax.objectives import LagDPO, MultiNegativeDPO, Objective
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.normalized import Normalized
from dignified_jax.objectives.duals.paced import PacedAscent

LENGTHS = (27, 150, 750)
EPOCHS = 3
SEEDS = (100, 101, 102)
RATE = 1e-2  # of Adam
AVERAGE = "average of dimensions"
RULES: dict[str, Objective] = {
    AVERAGE: MultiNegativeDPO(),
    "rate 1 a step": LagDPO(controller=Ascent(1.0)),
    "rate 0.1 a step": LagDPO(controller=Ascent(0.1)),
    "rate 32 a run": LagDPO(controller=PacedAscent(32.0)),
    "rate 64 a run": LagDPO(controller=PacedAscent(64.0)),
    "rate 128 a run": LagDPO(controller=PacedAscent(128.0)),
    "normalized, 4 a run": LagDPO(controller=Normalized(4.0)),
    "normalized, 8 a run": LagDPO(controller=Normalized(8.0)),
}


@dataclasses.dataclass(frozen=True)
class Length:
    """A rule on runs of one length.

    Attributes:
      rule: its name.
      steps: of each run.
      worst: (seed,) validation accuracy of the worst dimension.
      spread: (seed,) greatest minus least accuracy of the dimensions.
      path: (step, 4) lambda after each step, mean over seeds; (step, 0) without multipliers.
    """

    rule: str
    steps: int
    worst: np.ndarray
    spread: np.ndarray
    path: np.ndarray


def measure(
    lengths: Sequence[int] = LENGTHS,
    seeds: Sequence[int] = SEEDS,
    log: Callable[[str], None] = print,
) -> list[Length]:
    """Trains every rule on runs of every length."""
    found = []
    for steps in lengths:
        worlds = [World.make(DIALS, seed, steps // EPOCHS * BATCH) for seed in seeds]
        for name, method in RULES.items():
            runs = [train_path(world, method, RATE, steps=steps) for world in worlds]
            accuracies = np.array(
                [
                    accuracy(run[0], world, "validation")
                    for run, world in zip(runs, worlds, strict=True)
                ]
            )
            one = Length(
                rule=name,
                steps=steps,
                worst=accuracies.min(axis=1),
                spread=np.ptp(accuracies, axis=1),
                path=np.mean([run[2] for run in runs], axis=0),
            )
            found.append(one)
            log(f"{steps} steps, {name}: worst {np.round(one.worst, 3)}")
    return found


def table(found: Sequence[Length]) -> str:
    """Markdown: a line for each length and rule, with its lead over averaging, paired by seed."""
    head = ["steps", "rule", "worst dimension", "lead over averaging", "greatest minus least"]
    head += ["last λ of A, T, E, C", "greatest λ"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    plain = {one.steps: one for one in found if one.rule == AVERAGE}
    for one in found:
        cells = [str(one.steps), one.rule, f"{one.worst.mean():.3f}"]
        if one.rule == AVERAGE:
            cells += ["-", f"{one.spread.mean():.3f}", *["-"] * 2]
        else:
            mean, half = interval(one.worst - plain[one.steps].worst)
            cells += [f"{mean:+.3f} ± {half:.3f}", f"{one.spread.mean():.3f}"]
            cells += [", ".join(f"{value:.2f}" for value in one.path[-1])]
            cells.append(f"{one.path.max():.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
