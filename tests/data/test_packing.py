"""The packed layout against separate, unpacked sequences, token by token."""

import dataclasses

import jax
import numpy as np
import pytest

from dignified_jax.data import PackedBatch, encode, pack
from dignified_jax.data.batch import Capacity
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.packing import best_fit, build


def random_examples(count, seed):
    """Distinct token ids everywhere, so that a token says where it comes from."""
    rng = np.random.default_rng(seed)
    next_id = iter(range(1, 10**6))

    def ids(most):
        return np.array([next(next_id) for _ in range(rng.integers(1, most + 1))], np.int32)

    examples = []
    for index in range(count):
        present = [True, *(rng.random(4) < 0.5)]
        responses = tuple(ids(7) if there else None for there in present)
        examples.append(TokenizedExample(ids(9), responses, index))
    return examples


def packed(examples, row_length=48):
    plan = best_fit([e.length for e in examples], row_length)
    return build(
        examples,
        plan,
        row_length=row_length,
        capacity=Capacity.of(examples, [plan]),
        rows=len(plan) + 1,
        example_count=len(examples) + 2,
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_response_sees_its_prompt_and_itself(seed):
    """Brute force: query by query, the keys seen are those of a row of its own."""
    examples = random_examples(25, seed)
    batch = packed(examples)
    # what each token sees, itself included, and its position, in a sequence of its own
    expected = {}
    for example in examples:
        for response in (None, *example.responses):
            own = example.prompt if response is None else [*example.prompt, *response]
            for n, token in enumerate(own):
                if response is None or n >= len(example.prompt):
                    expected[int(token)] = (n, [int(t) for t in own[: n + 1]])
    seen_tokens = []
    for tokens, positions, until in zip(
        batch.tokens, batch.positions, batch.visible_until, strict=True
    ):
        for i, token in enumerate(tokens):
            keys = [j for j in range(len(tokens)) if j <= i < until[j]]
            if token == 0:
                assert keys == [i] and positions[i] == 0 and until[i] == i + 1
            else:
                position, sees = expected[int(token)]
                assert [int(tokens[j]) for j in keys] == sees
                assert positions[i] == position
                seen_tokens.append(int(token))
    assert sorted(seen_tokens) == sorted(expected)  # each token packed exactly once


@pytest.mark.parametrize("seed", range(4))
def test_slots_predict_every_response_token_from_its_predecessor(seed):
    examples = random_examples(25, seed)
    batch = packed(examples)
    expected = []
    for number, example in enumerate(examples):
        for r, response in enumerate(example.responses):
            if response is not None:
                before = [example.prompt[-1], *response[:-1]]
                expected += [(b, t, 5 * number + r) for b, t in zip(before, response, strict=True)]
    found = []
    unused = 5 * (len(examples) + 2)
    for row, source, target, response in zip(
        batch.tokens, batch.source, batch.target, batch.response, strict=True
    ):
        used = response < unused
        assert not source[~used].any() and not target[~used].any()
        assert (response[~used] == unused).all()
        found += list(zip(row[source[used]], target[used], response[used], strict=True))
    assert sorted(found) == sorted(expected)
    # the sums that consumers take agree with the lengths announced
    counts = np.bincount(batch.response.ravel(), minlength=unused + 1)[:unused]
    assert np.array_equal(counts.reshape(-1, 5), batch.response_length)
    assert np.array_equal(batch.response_mask, batch.response_length > 0)
    assert not batch.response_mask[len(examples) :].any()


def test_a_small_row_by_hand():
    def ids(*values):
        return np.array(values, np.int32)

    first = TokenizedExample(ids(11, 12), (ids(21, 22), None, ids(31), None, None), 0)
    second = TokenizedExample(ids(13), (ids(23), None, None, None, None), 1)
    capacity = Capacity(slots=5, segments=6, prompt_block=2, segment_block=2)
    batch = build(
        [first, second], [[0, 1]], row_length=9, capacity=capacity, rows=2, example_count=3
    )
    assert batch.tokens.tolist() == [[11, 12, 21, 22, 31, 13, 23, 0, 0], [0] * 9]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 2, 0, 1, 0, 0], [0] * 9]
    assert batch.visible_until.tolist() == [[5, 5, 4, 4, 5, 7, 7, 8, 9], [*range(1, 10)]]
    unused = [0, 0, 9, 0]
    assert batch.segments.tolist() == [
        [[0, 0, 0, 2], [0, 2, 2, 2], [0, 2, 4, 1], [5, 0, 5, 1], [5, 1, 6, 1], unused],
        [unused] * 6,
    ]
    assert (batch.prompt_block, batch.segment_block) == (2, 2)
    assert batch.source.tolist() == [[1, 2, 1, 5, 0], [0] * 5]
    assert batch.target.tolist() == [[21, 22, 31, 23, 0], [0] * 5]
    assert batch.response.tolist() == [[0, 0, 2, 5, 15], [15] * 5]
    assert batch.response_mask.astype(int).tolist() == [[1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0] * 5]
    assert batch.response_length.tolist() == [[2, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0] * 5]
    for field in dataclasses.fields(batch):
        if field.name not in ("prompt_block", "segment_block"):
            expected = bool if field.name == "response_mask" else np.int32
            assert getattr(batch, field.name).dtype == expected


def test_pack_keeps_the_order_of_rows(tokenizer, rows):
    examples, _ = encode(rows, tokenizer)
    batch = pack(rows, tokenizer, row_length=max(e.length for e in examples))
    assert 1 < len(batch.tokens) <= len(rows)
    for number, example in enumerate(examples):
        for r, response in enumerate(example.responses):
            assert batch.response_mask[number, r] == (response is not None)
            targets = batch.target[batch.response == 5 * number + r]
            assert targets.tolist() == ([] if response is None else response.tolist())
    used = (batch.response < 5 * len(rows)).sum(axis=1)
    assert used.max() <= batch.source.shape[1] < used.max() + 8


def test_pack_keeps_the_place_of_dropped_rows(tokenizer, rows):
    examples, _ = encode(rows, tokenizer)
    limit = sorted(e.length for e in examples)[1]
    batch = pack(rows, tokenizer, row_length=limit, on_too_long="drop")
    kept = [e.length <= limit for e in examples]
    assert batch.response_mask.any(axis=1).tolist() == kept and sum(kept) == 2
    for number in np.flatnonzero(kept):
        targets = batch.target[batch.response == 5 * number]
        assert targets.tolist() == examples[number].responses[0].tolist()
    with pytest.raises(ValueError, match="expected at least one, found 4, 4 dropped"):
        pack(rows, tokenizer, row_length=3, on_too_long="drop")
    with pytest.raises(ValueError, match="too long"):
        pack(rows, tokenizer, row_length=limit)
    with pytest.raises(ValueError, match="expected at least one, found 0"):
        pack([], tokenizer)


def test_batch_is_a_pytree(tokenizer, rows):
    batch = pack(rows, tokenizer, row_length=512)
    assert len(jax.tree.leaves(batch)) == 9  # every array; the two block sizes are static
    doubled = jax.jit(lambda b: jax.tree.map(lambda x: x * 2, b))(batch)
    assert isinstance(doubled, PackedBatch)
    assert np.array_equal(doubled.tokens, batch.tokens * 2)


def first_fit(lengths, row_length):
    rows = []
    for length in lengths:
        row = next((row for row in rows if sum(row) + length <= row_length), None)
        if row is None:
            rows.append(row := [])
        row.append(length)
    return len(rows)


@pytest.mark.parametrize("seed", range(20))
def test_best_fit_fills_rows_at_least_as_well_as_first_fit(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rng.integers(20, 101), 300).tolist()
    plan = best_fit(lengths, 100)
    assert sorted(i for row in plan for i in row) == list(range(300))
    assert all(0 < sum(lengths[i] for i in row) <= 100 for row in plan)
    assert len(plan) <= first_fit(lengths, 100)


def test_best_fit_by_hand():
    # 6 and 5 open rows; 4 fits the first exactly, 3 the second, 2 the second exactly
    assert best_fit([2, 5, 4, 3, 6], 10) == [[4, 2], [1, 3, 0]]
    # 2 goes to the fuller row, not to the first with room
    assert best_fit([6, 7, 2], 10) == [[1, 2], [0]]
    assert best_fit([10, 10], 10) == [[0], [1]]
    assert best_fit([], 10) == []
    with pytest.raises(ValueError, match=r"examples\[1\]: expected at most 10 tokens, found 11"):
        best_fit([3, 11], 10)


def test_build_refuses_a_plan_that_does_not_fit():
    examples = random_examples(3, 0)
    total = sum(e.length for e in examples)
    plan = [[0, 1, 2]]
    slots = total - sum(len(e.prompt) for e in examples)
    segments = sum(1 + len(e.response_lengths) for e in examples)
    prompt = max(len(e.prompt) for e in examples)
    longest = max(prompt, *(n for e in examples for n in e.response_lengths))
    sizes = {"slots": slots, "segments": segments, "prompt_block": prompt, "segment_block": longest}
    room = {"row_length": total, "rows": 1, "example_count": 3}
    assert build(examples, plan, capacity=Capacity(**sizes), **room).tokens.all()
    for name, most in (room | sizes).items():
        less = {name: most - 1}
        capacity = Capacity(**sizes | {k: v for k, v in less.items() if k in sizes})
        short = room | {k: v for k, v in less.items() if k in room}
        with pytest.raises(ValueError, match=f"{name}: the plan needs {most}, found {most - 1}"):
            build(examples, plan, capacity=capacity, **short)
    needed = Capacity.of(examples, [plan])
    for name, size in sizes.items():
        assert size <= getattr(needed, name) < size + 8
