"""Recovery study of `mfrm.fit`: ratings drawn from known effects, fitted, compared.

    python benchmarks/mfrm_recovery.py --replicates 2000 --markdown recovery.md

Each replicate draws new effects: qualities' model means and their deviations on each question from
N(0, SD^2), severities of judges, difficulties of items and questions likewise and then centred, and
ratings from those. The true score of a model is its mean quality on the replicate's questions, at
the average judge, item and question of the replicate: what `Fit.score` estimates.

  slope      of estimated on true scores, over the models of all replicates, each replicate centred
  coverage   of estimate +- 1.96 standard errors, over models (scores) or judges (severity)
  bias       |mean error| of a judge's severity where it is large: mean of (estimate - truth) in the
             direction of the truth, and the mean absolute error
  +-         Monte-Carlo standard errors, over replicates

Fits are in float32, whose differences from float64 (below 1e-4) are far below these errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax import mfrm

SHAPES = [(5, 220, 2, 3), (10, 500, 3, 3)]
METHODS = ("quadrature", "laplace", "ridge")
MISSING = (0.0, 0.4)
SPREADS = (0.5, 1.0, 2.0)


class Replicate(NamedTuple):
    """One replicate's truth and estimates."""

    score: jax.Array
    score_error: jax.Array
    true_score: jax.Array
    judge: jax.Array
    judge_error: jax.Array
    true_judge: jax.Array
    converged: jax.Array


def replicate(key: jax.Array, shape: tuple, spread: float, missing: float, method: str):
    """Draws effects and ratings, and fits them."""
    models, questions, judges, items = shape
    keys = jax.random.split(key, 7)

    def effect(key, *size):
        return spread * jax.random.normal(key, size)

    def centred(values):
        return values - values.mean()

    quality = effect(keys[0], models, 1) + effect(keys[1], models, questions)
    judge, item, question = (
        centred(effect(key, size))
        for key, size in zip(keys[2:5], (judges, items, questions), strict=True)
    )
    logit = (quality - question)[:, :, None, None] - judge[:, None] - item
    trials = (jax.random.uniform(keys[5], shape) >= missing).astype(logit.dtype)
    successes = trials * (jax.random.uniform(keys[6], shape) < jax.nn.sigmoid(logit))
    fit = mfrm.fit(successes, trials, method=method)
    error = fit.standard_error
    return Replicate(
        fit.score, error.score, quality.mean(axis=1), fit.judge, error.judge, judge, fit.converged
    )


def with_error(values: np.ndarray) -> str:
    """Mean over replicates and its Monte-Carlo standard error."""
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def slope(found: Replicate) -> str:
    """Ratio of sums over replicates, with the delta method's error."""
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (found.true_score, found.score))
    up, down = (x * y).sum(axis=1), (x * x).sum(axis=1)
    ratio = up.sum() / down.sum()
    error = (up - ratio * down).std(ddof=1) / down.mean() / np.sqrt(len(up))
    return f"{ratio:.3f} ± {error:.3f}"


def row(found: Replicate) -> list[str]:
    def coverage(estimate, error, truth):
        return with_error((np.abs(estimate - truth) <= 1.96 * error).mean(axis=1))

    miss = found.judge - found.true_judge
    return [
        slope(found),
        coverage(found.score, found.score_error, found.true_score),
        coverage(found.judge, found.judge_error, found.true_judge),
        with_error((miss * np.sign(found.true_judge)).mean(axis=1)),
        with_error(np.abs(miss).mean(axis=1)),
    ]


HEADER = [
    "method",
    "shape",
    "missing",
    "SD",
    "replicates",
    "not converged",
    "slope",
    "coverage, scores",
    "coverage, severities",
    "bias, severities",
    "mean abs. error, severities",
    "seconds",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=2000, help="per row (default 2000)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--spreads", nargs="+", type=float, default=SPREADS, metavar="SD")
    parser.add_argument("--markdown", help="also write the table to this file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.replicates < 2:
        parser.error("--replicates must be at least 2")
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    print("\n".join(lines), flush=True)
    begun = time.perf_counter()
    rows = len(arguments.methods) * len(SHAPES) * len(MISSING) * len(arguments.spreads)
    for method in arguments.methods:
        for shape in SHAPES:
            program = jax.jit(
                lambda keys, spread, missing, shape=shape, method=method: jax.lax.map(
                    lambda key: replicate(key, shape, spread, missing, method), keys
                )
            )
            for missing in MISSING:
                for spread in arguments.spreads:
                    keys = jax.random.split(jax.random.key(arguments.seed), arguments.replicates)
                    start = time.perf_counter()
                    found = program(keys, jnp.float32(spread), jnp.float32(missing))
                    found = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)
                    seconds = time.perf_counter() - start
                    # A model with one answer only has no finite score; it is left out, counted.
                    good = (found.converged == 1) & np.isfinite(found.score_error).all(axis=1)
                    kept = jax.tree.map(lambda leaf, good=good: leaf[good], found)
                    cells = [method, "x".join(map(str, shape)), f"{missing:.0%}", f"{spread:g}"]
                    cells += [str(len(good)), str(int((~good).sum())), *row(kept)]
                    lines.append("| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |")
                    print(lines[-1], flush=True)
                    done = len(lines) - 2
                    left = (time.perf_counter() - begun) / done * (rows - done) / 60
                    note = f"row {done} of {rows}, about {left:.0f} minutes left at this pace"
                    print(note, file=sys.stderr, flush=True)
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
