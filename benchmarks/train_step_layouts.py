"""Layouts of examples in rows: token trees, and padded rows of one response each.

All are packed batches for the same train step, which gives the same loss and gradients for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dignified_jax.data import RESPONSES, PackedBatch, TokenizedExample
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import best_fit, build

UNIT = 8


def trees(
    examples: Sequence[TokenizedExample],
    *,
    row_length: int,
    rows: int | None = None,
    capacity: Capacity | None = None,
) -> PackedBatch:
    """Whole examples best-fit into rows, as in training; by default as many as they need."""
    plan = best_fit([example.length for example in examples], row_length)
    return build(
        examples,
        plan,
        row_length=row_length,
        capacity=capacity or Capacity.of(examples, [plan]),
        rows=rows or len(plan),
        example_count=len(examples),
    )


def one_a_row(examples: Sequence[TokenizedExample], *, row_length: int) -> PackedBatch:
    """Every example as a token tree in a row of its own."""
    plan = [[number] for number in range(len(examples))]
    return build(
        examples,
        plan,
        row_length=row_length,
        capacity=Capacity.of(examples, [plan]),
        rows=len(plan),
        example_count=len(examples),
    )


def separate(examples: Sequence[TokenizedExample]) -> PackedBatch:
    """Every response behind a copy of its prompt in a row of its own, padded to the longest.

    Row length and slots are multiples of UNIT.
    """
    places = [
        (number, r)
        for number, example in enumerate(examples)
        for r, ids in enumerate(example.responses)
        if ids is not None
    ]
    alone = [_only(examples[number], r) for number, r in places]
    plan = [[row] for row in range(len(alone))]
    longest = max(example.length for example in alone)
    batch = build(
        alone,
        plan,
        row_length=-(-longest // UNIT) * UNIT,
        capacity=Capacity.of(alone, [plan]),
        rows=len(alone),
        example_count=len(alone),
    )
    # Rows count as examples in `batch`; its responses go back to the examples they belong to.
    owner = np.array([*(number for number, _ in places), len(examples)], np.int32)
    row, response = np.divmod(batch.response, len(RESPONSES))
    lengths = np.array(
        [[0 if ids is None else len(ids) for ids in e.responses] for e in examples], np.int32
    )
    return dataclasses.replace(
        batch,
        response=owner[row] * len(RESPONSES) + response,
        response_mask=lengths > 0,
        response_length=lengths,
    )


def _only(example: TokenizedExample, response: int) -> TokenizedExample:
    responses = (ids if r == response else None for r, ids in enumerate(example.responses))
    return dataclasses.replace(example, responses=tuple(responses))


def used_rows(batch: PackedBatch) -> int:
    """Rows that hold anything."""
    return int((batch.segments[..., 3].sum(axis=1) > 0).sum())
