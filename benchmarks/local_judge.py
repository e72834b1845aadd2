"""Times a local judge: the twelve items of a response as one token tree, and as twelve prompts.

    python -m benchmarks.local_judge --model embedded:tiny-qwen3 --responses 8

Both run the same model in the same dtype, compiled before the clock starts; separate prompts are
packed too, several a row, without shared tokens. Prints seconds, tokens and the largest difference
of log-odds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from dignified_jax.data import read_rows
from dignified_jax.embedded import resolve
from dignified_jax.evaluation import models, rubrics
from dignified_jax.evaluation.judging import local, trees
from dignified_jax.evaluation.responses import Response


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:tiny-qwen3")
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    rows = read_rows(resolve("embedded:personaknob_mini/test.jsonl"))[: options.responses]
    responses = [Response("golden", str(i), r.prompt, r.golden) for i, r in enumerate(rows)]
    model = models.load("judge", options.model, options.dtype)
    rubric = rubrics.read()
    judge = local.LocalJudge(model, rubric, local.LocalSettings())
    prompts = [[e.prompt for e in judge.tokenized(response)] for response in responses]
    together = [trees.grow(own, i) for i, own in enumerate(prompts)]
    apart = [trees.grow([ids], i) for i, ids in enumerate(p for own in prompts for p in own)]
    found = {}
    for name, grown, branches in (("tree", together, len(rubric.items)), ("prompts", apart, 1)):
        seconds, values = _timed(judge.scorer, grown, branches)
        found[name] = seconds, values
        tokens = sum(tree.length for tree in grown)
        print(
            f"{name}: {seconds:.2f} s, {tokens} tokens, {len(responses) / seconds:.2f} responses/s"
        )
    difference = np.abs(found["tree"][1] - found["prompts"][1]).max()
    ratio = found["prompts"][0] / found["tree"][0]
    print(f"{ratio:.1f} times as fast; log-odds differ by at most {difference:.1e}")


def _timed(scorer: trees.BranchScorer, grown: list, branches: int) -> tuple[float, np.ndarray]:
    batches = list(trees.pack(grown))
    scorer(batches[0], branches)  # compiles: all batches have one shape
    started = time.perf_counter()
    values = {}
    for batch in batches:
        values |= scorer(batch, branches)
    seconds = time.perf_counter() - started
    return seconds, np.concatenate([values[place] for place in range(len(grown))])


if __name__ == "__main__":
    main()
