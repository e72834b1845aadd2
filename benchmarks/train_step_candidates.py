"""The ways to train that the benchmark of the train step compares, each with its typical batch."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

from benchmarks import train_step_jax, train_step_layouts
from benchmarks.train_step_examples import (
    choose_row_length,
    explode,
    grouped_batches,
    longest_sequence,
    make_examples,
    random_batches,
    typical,
)
from benchmarks.train_step_models import MODELS
from benchmarks.train_step_report import Candidate
from benchmarks.train_step_worker import Job
from dignified_jax.data import TokenizedExample
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import best_fit

REJECTS = 4
LONGEST_ROW = {"cpu": 4096, "gpu": 8192}
SEED = 0
NAMES = ("ours", "trl", "trl-grouped", "rows", "rows-grouped", "pairs", "pairs-grouped")
TITLES = {
    "ours": "token trees",
    "trl": "TRL DPOTrainer",
    "rows": "1 + k padded rows",
    "pairs": "padded rows of pairs",
}


def make_pool(arguments: argparse.Namespace) -> list[TokenizedExample]:
    """The examples that all candidates make their batches of."""
    vocabulary = MODELS[arguments.model]["vocab_size"]
    return make_examples(arguments.pool, vocabulary, SEED, rejects=REJECTS)


def candidates(arguments: argparse.Namespace, checkpoint: str) -> list[Candidate]:
    """Those asked for, each with its batch."""
    pool = make_pool(arguments)
    common = {
        "checkpoint": checkpoint,
        "gpu": arguments.device == "gpu",
        "remat": arguments.remat,
        "lora_rank": arguments.lora_rank,
    }
    made = []
    for name in arguments.candidates:
        kind, grouped = name.removesuffix("-grouped"), name.endswith("-grouped")
        if kind == "ours":
            made.append(_trees(pool, arguments, common))
        else:
            made.append(_padded(kind, grouped, pool, arguments, common))
    return made


def _trees(
    pool: Sequence[TokenizedExample], arguments: argparse.Namespace, common: dict
) -> Candidate:
    batches = random_batches(len(pool), arguments.examples, SEED)
    lengths = [example.length for example in pool]
    row_length = choose_row_length(lengths, batches, LONGEST_ROW[arguments.device])
    plans = [
        [[batch[i] for i in row] for row in best_fit([lengths[i] for i in batch], row_length)]
        for batch in batches
    ]
    computed = {tuple(batch): len(p) * row_length for batch, p in zip(batches, plans, strict=True)}
    build = functools.partial(
        train_step_layouts.trees,
        row_length=row_length,
        rows=max(len(plan) for plan in plans),
        capacity=Capacity.of(pool, plans),
    )
    batch = typical(batches, lambda batch: computed[tuple(batch)])
    return Candidate(
        title=f"{TITLES['ours']} in rows of {row_length:,}",
        job=Job(
            serve=train_step_jax.serve,
            examples=[pool[i] for i in batch],
            warmup=arguments.warmup,
            build=build,
            rows_per_step=1,
            **common,
        ),
        computed=computed[tuple(batch)],
        computed_per_example=sum(computed.values()) / (len(batches) * arguments.examples),
        examples=arguments.examples,
    )


def _padded(
    kind: str,
    grouped: bool,
    pool: Sequence[TokenizedExample],
    arguments: argparse.Namespace,
    common: dict,
) -> Candidate:
    paired = kind != "rows"
    items = explode(pool) if paired else list(pool)
    size = arguments.pairs if paired else arguments.pairs // REJECTS
    lengths = [longest_sequence(item) for item in items]
    if grouped:
        batches = grouped_batches(lengths, size, SEED)
    else:
        batches = random_batches(len(items), size, SEED)
    rows = size * (2 if paired else 1 + REJECTS)
    unit = 1 if kind == "trl" else train_step_layouts.UNIT

    def longest(batch: list[int]) -> int:
        return max(lengths[i] for i in batch)

    def computed(batch: list[int]) -> int:
        return rows * -(-longest(batch) // unit) * unit

    batch = typical(batches, longest)  # the same one for TRL and for our rows
    examples = size / (REJECTS if paired else 1)
    if kind == "trl":
        from benchmarks import train_step_trl  # imports torch

        serve, build = train_step_trl.serve, None
        warmup = max(arguments.warmup, 1)  # a first step allocates Adam's moments
    else:
        serve, build = train_step_jax.serve, train_step_layouts.separate
        warmup = arguments.warmup
    return Candidate(
        title=f"{TITLES[kind]}, {'grouped by length' if grouped else 'random'}",
        job=Job(serve, examples=[items[i] for i in batch], warmup=warmup, build=build, **common),
        computed=computed(batch),
        computed_per_example=sum(map(computed, batches)) / (len(batches) * examples),
        examples=examples,
    )
