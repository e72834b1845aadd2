"""The controlled conflict testbed: Propositions F.1 and F.2, a table of methods, and duals.

    python -m benchmarks.conflict                      # all parts
    python -m benchmarks.conflict gradients kkt        # some of them
    python -m benchmarks.conflict methods --seeds 8 --conflicts 0.7

A random one-layer decoder on the synthetic rows of `conflict_problem`, trained by the package's
own train step. Parts: `gradients` checks the propositions' squared norms and progress on raw
gradients over all parameters; `methods` tunes and compares every method; `ablation` shows what
Lag-DPO's dual settings do (validation only); `lengths` does so for its dual rate, on runs of 27 to
750 steps; `kkt` compares lambda with SciPy's multipliers.
Prints Markdown; figures go to --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from benchmarks import (
    conflict_gradients,
    conflict_kkt,
    conflict_lengths,
    conflict_methods,
    conflict_plots,
)
from benchmarks.conflict_training import World
from dignified_jax.data import DIMENSIONS

FIGURES = pathlib.Path(__file__).parent / "figures"
CONFLICTS = (0.3, 0.5, 0.7, 0.9)
SHOWN = 0.7  # of CONFLICTS, the one whose multipliers are swept
MULTIPLIERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
KKT_STEPS = 600


def gradients(out: pathlib.Path) -> None:
    """F.1 and F.2."""
    measured = {
        c: conflict_gradients.measure(c, MULTIPLIERS if c == SHOWN else ()) for c in CONFLICTS
    }
    print("| dial | measured rho | norms a, b | F.1: measured ÷ formula - 1 |\n|---|---|---|---|")
    for conflict, (found, averaged, _) in measured.items():
        error = averaged.squared_norm / found.squared_norm(0.0) - 1.0
        norms = f"{found.raised:.3f}, {found.satisfied:.3f}"
        print(f"| {conflict} | {found.rho:.3f} | {norms} | {error:.1e} |")
    one, _, steps = measured[SHOWN]
    print(
        f"\nLag-DPO at dial {SHOWN}; the satisfied dimension worsens once λ > {one.threshold:.2f}"
    )
    print(
        "| λ | norm²: measured ÷ formula - 1 | raised: step, formula | satisfied: step, formula |"
    )
    print("|---|---|---|---|")
    for step in steps:
        error = step.squared_norm / one.squared_norm(step.multiplier) - 1.0
        raised, satisfied = one.progress(step.multiplier)
        print(
            f"| {step.multiplier} | {error:.1e} | {step.raised:+.5f}, {raised:+.5f} "
            f"| {step.satisfied:+.5f}, {satisfied:+.5f} |"
        )
    sweep = [(found, averaged) for found, averaged, _ in measured.values()]
    conflict_plots.propositions(out / "conflict_propositions.png", sweep, one, steps)


def methods(out: pathlib.Path, seeds: int, conflicts: Sequence[float]) -> None:
    """A table of methods for each conflict, all with the settings tuned at the testbed's own."""
    chosen = conflict_methods.tune(list(conflict_methods.METHODS))
    for conflict in conflicts:
        dials = dataclasses.replace(conflict_methods.DIALS, conflict=conflict)
        worlds = (World.make(dials, seed) for seed in range(seeds))
        rho = [-conflict_gradients.cosines(w.params, w.train)[0][:2, 2:].mean() for w in worlds]
        print(f"\n{dials}\nmeasured rho between the groups: {np.round(rho, 3)}", flush=True)
        rows = conflict_methods.compare(chosen, range(seeds), dials)
        print(conflict_methods.table(rows), flush=True)
        conflict_plots.methods(out / f"conflict_methods_{conflict:g}.png", rows)


def ablation(out: pathlib.Path) -> None:
    """Lag-DPO's dual settings, on validation."""
    del out
    print("| Lag-DPO | worst dimension, validation | last λ of A, T, E, C |\n|---|---|---|")
    for name, worst, multipliers in conflict_methods.ablate():
        print(f"| {name} | {worst:.3f} | {', '.join(f'{value:.2f}' for value in multipliers)} |")


def lengths(out: pathlib.Path) -> None:
    """Lag-DPO's dual rate on runs of several lengths, on validation."""
    found = conflict_lengths.measure()
    print(f"\n{conflict_lengths.table(found)}")
    conflict_plots.lengths(out / "conflict_lengths.png", found)


def kkt(out: pathlib.Path) -> None:
    """lambda against SciPy."""
    problem = conflict_kkt.make_problem()
    optimum = conflict_kkt.solve(problem)
    z, history, losses = conflict_kkt.descend(problem, optimum.epsilon, KKT_STEPS)
    print("| | SciPy λ* | λ | SciPy loss | loss | ε |\n|---|---|---|---|---|---|")
    for k, dimension in enumerate(DIMENSIONS):
        print(
            f"| {dimension} | {optimum.multipliers[k]:.5f} | {history[-1, k]:.5f} "
            f"| {optimum.losses[k]:.6f} | {losses[-1, k]:.6f} | {optimum.epsilon[k]:.6f} |"
        )
    print(
        f"largest difference of λ {conflict_kkt.gap(history[-1], optimum.multipliers):.1e}, ",
        end="",
    )
    print(f"of z {conflict_kkt.gap(z, optimum.z):.1e}")
    conflict_plots.multipliers(out / "conflict_kkt.png", history, optimum)


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, runs the parts asked for in a fixed order, prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conflict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = ["gradients", "kkt", "ablation", "lengths", "methods"]
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(parts)}; all")
    parser.add_argument("--seeds", type=int, default=8, help="of the table of methods; at least 2")
    parser.add_argument(
        "--conflicts", type=float, nargs="+", default=(0.7, 0.55), help="dials of those tables"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=FIGURES, help="directory of the figures"
    )
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.parts) - set(parts):
        parser.error(
            f"part: expected some of {', '.join(parts)}, found {', '.join(sorted(unknown))}"
        )
    if arguments.seeds < 2:
        parser.error(f"--seeds: expected at least 2 for an interval, found {arguments.seeds}")
    run = {"gradients": gradients, "kkt": kkt, "ablation": ablation, "lengths": lengths}
    for part in [part for part in parts if part in (arguments.parts or parts)]:
        print(f"\n## {part}\n", flush=True)
        if part == "methods":
            methods(arguments.out, arguments.seeds, arguments.conflicts)
        else:
            run[part](arguments.out)


if __name__ == "__main__":
    main()
