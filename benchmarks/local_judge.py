"""Times a local judge: the twelve items of a response as one token tree, and as twelve prompts.

    python -m benchmarks.local_judge --model embedded:tiny-qwen3 --responses 8

Both run the same model in the same dtype, compiled before the clock starts, in turns; separate
prompts are packed too, several a row, without shared tokens. Prints medians over the turns, tokens
and the largest difference of log-odds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from dignified_jax.console.table import Table
from dignified_jax.data import read_rows
from dignified_jax.data.tokenize import TokenizedExample
from dignified_jax.embedded import resolve
from dignified_jax.evaluation import models, rubrics
from dignified_jax.evaluation.judging import local, trees
from dignified_jax.evaluation.responses import Response


def compare(path: str, count: int, dtype: str = "float32", rounds: int = 1) -> Table:
    """Judges the golden replies of embedded rows both ways.

    Args:
      path: of the model.
      count: responses.
      dtype: of the model.
      rounds: turns of each.
    """
    rows = read_rows(resolve("embedded:personaknob_mini/test.jsonl"))[:count]
    responses = [Response("golden", str(i), r.prompt, r.golden) for i, r in enumerate(rows)]
    rubric = rubrics.read()
    judge = local.LocalJudge(models.load("judge", path, dtype), rubric, local.LocalSettings())
    prompts = [[e.prompt for e in judge.tokenized(response)] for response in responses]
    ways = {
        "one tree": [trees.grow(own, i) for i, own in enumerate(prompts)],
        "prompts": [trees.grow([i], n) for n, i in enumerate(p for own in prompts for p in own)],
    }
    branches = {"one tree": len(rubric.items), "prompts": 1}
    batches = {name: list(trees.pack(grown)) for name, grown in ways.items()}
    for name, own in batches.items():
        judge.scorer(own[0], branches[name])  # compiles: all batches have one shape
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    values: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for name, own in batches.items():
            seconds, processor, values[name] = _timed(judge.scorer, own, branches[name])
            times[name].append((seconds, processor))
    middle = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in times.items()
    }
    difference = float(np.abs(values["one tree"].ravel() - values["prompts"].ravel()).max())
    ratios = [other / own for own, other in zip(middle["one tree"], middle["prompts"], strict=True)]
    columns: dict[str, list[object]] = {
        "twelve items as": list(ways),
        "tokens": [_tokens(grown) for grown in ways.values()],
        "seconds": [found[0] for found in middle.values()],
        "processor seconds": [found[1] for found in middle.values()],
        "responses/s": [count / found[0] for found in middle.values()],
    }
    return Table(
        name="local_judge",
        title=f"{count} responses, {dtype}, median of {rounds} turns",
        columns=columns,
        notes=(
            f"one tree is {ratios[0]:.1f} times as fast ({ratios[1]:.1f} by processor seconds); "
            f"log-odds differ by at most {difference:.1e}",
        ),
    )


def _tokens(grown: list[TokenizedExample]) -> int:
    return sum(tree.length for tree in grown)


def _timed(
    scorer: trees.BranchScorer, batches: list[trees.TreeBatch], branches: int
) -> tuple[float, float, np.ndarray]:
    """(seconds, processor seconds, log-odds of all branches)."""
    started, processor = time.perf_counter(), time.process_time()
    values = {}
    for batch in batches:
        values |= scorer(batch, branches)
    found = time.perf_counter() - started, time.process_time() - processor
    return *found, np.concatenate([values[place] for place in sorted(values)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded:tiny-qwen3")
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(compare(options.model, options.responses, options.dtype, options.rounds).text())


if __name__ == "__main__":
    main()
