"""Packing whole examples into rows of fixed length, prompts computed once.

A packed row holds examples one after another, each laid out
[prompt | golden | reject of the first dimension | of the second | ...], existing responses only.
Attention over it is a forest: every response continues its prompt and sees no other response.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

import numpy as np

from dignified_jax.data.batch import Capacity, PackedBatch
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.tokenize import encode
from dignified_jax.data.tokenizer import Tokenizer


def pack(
    rows: Sequence[PreferenceRow],
    tokenizer: Tokenizer,
    row_length: int = 2048,
    **encode_options: Any,
) -> PackedBatch:
    """Tokenises rows and packs all of them into as many packed rows as they need.

    Example i is `rows[i]`; if `encode_options` drop it, its `response_mask` is all False.

    Args:
      rows: at least one preference row.
      tokenizer: a transformers tokenizer with a chat template.
      row_length: tokens a packed row.
      **encode_options: passed to `encode`.

    Raises:
      ValueError: nothing to pack, or whatever `encode` raises.
    """
    examples, report = encode(rows, tokenizer, row_length=row_length, **encode_options)
    if not examples:
        raise ValueError(
            f"rows: expected at least one, found {len(rows)}, {report.dropped} dropped"
        )
    by_row: list[TokenizedExample | None] = [None] * len(rows)
    for example in examples:
        by_row[example.index] = example
    lengths = [example.length for example in examples]
    plan = [[examples[i].index for i in row] for row in best_fit(lengths, row_length)]
    position = {example.index: i for i, example in enumerate(examples)}
    capacity = Capacity.of(examples, [[[position[i] for i in row] for row in plan]])
    return build(
        by_row,
        plan,
        row_length=row_length,
        capacity=capacity,
        rows=len(plan),
        example_count=len(rows),
    )


def best_fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Plans rows: the longest example first, each into the fullest row it fits.

    (Best-fit decreasing.)

    Args:
      lengths: tokens of each example.
      row_length: tokens a row holds.

    Returns:
      For each row the positions in `lengths` that it holds. Every position occurs once; the
      result depends on the arguments alone.

    Raises:
      ValueError: an example is longer than a row.
    """
    plan: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > row_length:
            raise ValueError(
                f"examples[{index}]: expected at most {row_length} tokens, found {length}"
            )
        at = bisect_left(free, (length, 0))
        left, row = free.pop(at) if at < len(free) else (row_length, len(plan))
        if row == len(plan):
            plan.append([])
        plan[row].append(index)
        insort(free, (left - length, row))
    return plan


def build(
    examples: Sequence[TokenizedExample | None],
    plan: Sequence[Sequence[int]],
    *,
    row_length: int,
    capacity: Capacity,
    rows: int,
    example_count: int,
) -> PackedBatch:
    """Lays examples out as planned.

    Args:
      examples: the examples of the whole batch, None for one left out; the position in here is
        the example's number in the batch.
      plan: for each row the examples it holds; a process's share of a batch leaves some out.
      row_length: tokens a row.
      capacity: what the rows and blocks can hold.
      rows: rows to make; those beyond the plan stay empty.
      example_count: examples the batch is padded to; those beyond `examples` have no response.

    Raises:
      ValueError: the plan does not fit into `rows`, `row_length` or `capacity`, or the examples
        not into `example_count`; or an example has not `capacity.responses` places.
    """
    _check_fits("rows", len(plan), rows)
    _check_fits("example_count", len(examples), example_count)
    tokens = np.zeros((rows, row_length), np.int32)
    positions = np.zeros((rows, row_length), np.int32)
    visible_until = np.tile(np.arange(1, row_length + 1, dtype=np.int32), (rows, 1))
    segments = np.tile(np.array([0, 0, row_length, 0], np.int32), (rows, capacity.segments, 1))
    source = np.zeros((rows, capacity.slots), np.int32)
    target = np.zeros((rows, capacity.slots), np.int32)
    response = np.full((rows, capacity.slots), example_count * capacity.responses, np.int32)
    lengths = np.zeros((example_count, capacity.responses), np.int32)
    mask = np.zeros((example_count, capacity.responses), bool)
    for number, example in enumerate(examples):
        if example is None:
            continue
        if len(example.responses) != capacity.responses:
            found = len(example.responses)
            raise ValueError(f"responses: expected {capacity.responses} places, found {found}")
        for r, ids in enumerate(example.responses):
            if ids is not None:
                mask[number, r], lengths[number, r] = True, len(ids)
    for row, numbers in enumerate(plan):
        packed = [(number, examples[number]) for number in numbers]
        _check_fits("row_length", sum(e.length for _, e in packed), row_length)
        _check_fits("slots", sum(e.length - len(e.prompt) for _, e in packed), capacity.slots)
        laid = _segments([example for _, example in packed])
        _check_fits("segments", len(laid), capacity.segments)
        _check_fits("prompt_block", max((s[1] for s in laid), default=0), capacity.prompt_block)
        _check_fits("segment_block", max((s[3] for s in laid), default=0), capacity.segment_block)
        segments[row, : len(laid)] = np.reshape(laid, (-1, 4))
        start = slot = 0  # of the next example, of its next response token
        for number, example in packed:
            prompt_end, end = start + len(example.prompt), start + example.length
            tokens[row, start:prompt_end] = example.prompt
            positions[row, start:prompt_end] = np.arange(len(example.prompt))
            visible_until[row, start:prompt_end] = end
            at = prompt_end
            for r, ids in enumerate(example.responses):
                if ids is None:
                    continue
                n = len(ids)
                tokens[row, at : at + n] = ids
                positions[row, at : at + n] = len(example.prompt) + np.arange(n)
                visible_until[row, at : at + n] = at + n
                source[row, slot : slot + n] = np.arange(at - 1, at + n - 1)
                source[row, slot] = prompt_end - 1
                target[row, slot : slot + n] = ids
                response[row, slot : slot + n] = number * capacity.responses + r
                at, slot = at + n, slot + n
            start = end
    return PackedBatch(
        tokens,
        positions,
        visible_until,
        segments,
        source,
        target,
        response,
        mask,
        lengths,
        prompt_block=capacity.prompt_block,
        segment_block=capacity.segment_block,
    )


def _segments(examples: Sequence[TokenizedExample]) -> list[tuple[int, int, int, int]]:
    """(prompt start, prompt length, start, length) of every prompt and response of a row."""
    segments = []
    start = 0
    for example in examples:
        prompt = len(example.prompt)
        segments.append((start, 0, start, prompt))
        at = start + prompt
        for length in example.response_lengths:
            segments.append((start, prompt, at, length))
            at += length
        start = at
    return segments


def _check_fits(what: str, needed: int, room: int) -> None:
    if needed > room:
        raise ValueError(f"{what}: the plan needs {needed}, found {room}")
