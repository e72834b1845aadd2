"""The batch stream: reproducible, complete, of static shape, and divisible over processes."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from dignified_jax.data import BatchStream, share_shape, stream_shape
from dignified_jax.data.batch import Capacity, PackedBatch
from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.packing import best_fit


def make_examples(count, seed=0, longest=20):
    """Prompt tokens of example i are i + 1, so that a batch tells which examples it holds."""
    rng = np.random.default_rng(seed)
    examples = []
    for index in range(count):
        sizes = rng.integers(1, longest, 6)
        present = [True, *(rng.random(4) < 0.5)]
        responses = tuple(
            np.full(n, 1000 + index, np.int32) if there else None
            for n, there in zip(sizes[1:], present, strict=True)
        )
        examples.append(TokenizedExample(np.full(sizes[0] + 2, index + 1, np.int32), responses, 0))
    return examples


EXAMPLES = make_examples(50)
OPTIONS = {"batch_size": 8, "row_length": 128, "rows_multiple": 2, "seed": 5, "epochs": 3}


def stream(examples=EXAMPLES, **options):
    return BatchStream(examples, **OPTIONS | options)


def equal(left, right):
    names = [field.name for field in dataclasses.fields(PackedBatch)]
    return all(np.array_equal(getattr(left, n), getattr(right, n)) for n in names)


def held(batch):
    """Numbers of the examples whose tokens a batch holds."""
    tokens = np.unique(batch.tokens)
    return tokens[(tokens > 0) & (tokens < 1000)] - 1


def test_counts_and_static_shapes():
    s = stream()
    assert (s.steps_per_epoch, s.total_steps) == (7, 21)
    assert s.rows % 2 == 0 and s.rows > 2
    slots = []
    for step in range(s.total_steps):
        batch = s.batch(step)
        assert batch.tokens.shape == batch.positions.shape == (s.rows, 128)
        assert batch.source.shape == batch.response.shape == (s.rows, s.capacity.slots)
        assert batch.segments.shape == (s.rows, s.capacity.segments, 4)
        slots.append((batch.response < 8 * 5).sum(axis=1).max())
        assert batch.segments[..., 1].max() <= batch.prompt_block == s.capacity.prompt_block
        assert batch.segments[..., 3].max() <= batch.segment_block == s.capacity.segment_block
        assert batch.response_mask.shape == (8, 5)
        used = batch.tokens.any(axis=1)
        assert s.used_rows(step) == used.sum() and used[: used.sum()].all()  # empty rows last
    assert s.capacity.slots == -(-max(slots) // 8) * 8  # no more than the fullest row needs
    most = max(s.used_rows(step) for step in range(s.total_steps))
    assert s.rows == -(-most // 2) * 2
    assert stream(rows_multiple=1).rows == most


def test_same_seed_same_batches_and_epochs_differ():
    one, two = stream(), stream()
    assert all(equal(one.batch(step), two.batch(step)) for step in range(21))
    orders = [
        np.concatenate([one.indices(step) for step in range(start, start + 7)]).tolist()
        for start in (0, 7, 14)
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    other = stream(seed=6)
    assert not np.array_equal(other.indices(0), one.indices(0))
    # an epoch's order does not depend on how many epochs follow
    assert np.array_equal(stream(epochs=1).indices(6), one.indices(6))
    assert orders[1] == np.random.default_rng([5, 1]).permutation(50).tolist()


def test_a_batch_depends_on_its_step_alone():
    s, resumed = stream(), stream()
    in_order = [s.batch(step) for step in range(21)]
    for step in (17, 3, 17, 20, 0):
        assert equal(resumed.batch(step), in_order[step])


def test_every_example_once_an_epoch():
    s = stream()
    for epoch in range(3):
        seen, responses = [], 0
        for step in range(7 * epoch, 7 * epoch + 7):
            batch, indices = s.batch(step), s.indices(step)
            assert sorted(indices) == held(batch).tolist()
            seen += indices.tolist()
            responses += batch.response_mask.sum()
            for number, index in enumerate(indices):
                lengths = [0 if r is None else len(r) for r in EXAMPLES[index].responses]
                assert batch.response_length[number].tolist() == lengths
        assert sorted(seen) == list(range(50))
        assert responses == sum(r is not None for e in EXAMPLES for r in e.responses)
    last = s.batch(6)
    assert len(s.indices(6)) == 2 and not last.response_mask[2:].any()
    assert last.response_mask[:2, 0].all() and last.response_mask.shape == (8, 5)


def test_without_shuffling_the_order_is_kept():
    s = stream(shuffle=False, epochs=2)
    order = np.concatenate([s.indices(step) for step in range(14)])
    assert order.tolist() == [*range(50), *range(50)]
    assert s.used_rows(9) == s.used_rows(2) == s.batch(9).tokens.any(axis=1).sum()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=strategies.integers(0, 2**31 - 1),
    count=strategies.integers(9, 40),
    batch_size=strategies.integers(1, 9),
    stops=strategies.lists(strategies.integers(0, 40), min_size=3, max_size=3),
)
def test_whichever_hosts_go_on_every_example_is_seen_once_an_epoch(seed, count, batch_size, stops):
    """4 hosts, resumed by 2, by 3 and by 1, each stopped anywhere: the order of a single one."""
    options = {"seed": seed, "batch_size": batch_size, "epochs": 2}
    examples = make_examples(count, seed % 97)
    alone = stream(examples, rows_multiple=1, **options)
    ends = [*sorted(min(stop, alone.total_steps) for stop in stops), alone.total_steps]
    seen, start = [], 0
    for hosts, end in zip((4, 2, 3, 1), ends, strict=True):
        shares = [
            stream(
                examples, rows_multiple=2 * hosts, process_index=p, process_count=hosts, **options
            )
            for p in range(hosts)
        ]
        for step in range(start, end):
            parts = [held(share.batch(step)).tolist() for share in shares]
            together = sorted(index for part in parts for index in part)
            assert together == sorted(alone.indices(step))  # none twice, none on two hosts
            seen.append(shares[0].indices(step).tolist())
        start = end
    order = [index for indices in seen for index in indices]
    assert order == [i for s in range(alone.total_steps) for i in alone.indices(s).tolist()]
    assert [sorted(order[:count]), sorted(order[count:])] == [list(range(count))] * 2


@pytest.mark.parametrize("count", [2, 4])
def test_processes_together_hold_the_whole_batch(count):
    options = {"batch_size": 25, "rows_multiple": 4}
    whole = stream(**options)
    shares = [stream(**options, process_index=p, process_count=count) for p in range(count)]
    width = 4 // count
    assert whole.rows > 2 * 4 and whole.total_steps == 6  # several groups of rows
    for step in range(whole.total_steps):
        expected, parts = whole.batch(step), [s.batch(step) for s in shares]
        assert sorted(whole.indices(step)) == held(expected).tolist()
        names = ("tokens", "positions", "visible_until", "segments", "source", "target", "response")
        for name in names:
            rows = getattr(expected, name)
            groups = [getattr(part, name).reshape(-1, width, *rows.shape[1:]) for part in parts]
            assert np.array_equal(np.concatenate(groups, axis=1).reshape(rows.shape), rows)
        for part in parts:
            assert np.array_equal(part.response_mask, expected.response_mask)
            assert np.array_equal(part.response_length, expected.response_length)
    assert {s.rows for s in shares} == {whole.rows}
    assert {s.used_rows(3) for s in shares} == {whole.used_rows(3)}


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"rows_multiple": 1}])
def test_useful_share(options):
    """Of the tokens in microbatches that are not empty, over all three epochs."""
    s = stream(**options)
    useful = computed = 0
    for step in range(s.total_steps):
        groups = s.batch(step).tokens.reshape(-1, s.rows_multiple * 128)
        useful += (groups > 0).sum()
        computed += groups[groups.any(axis=1)].size
    assert s.useful_share == pytest.approx(useful / computed)
    assert 0.5 < s.useful_share < 1


def test_streams_of_one_shape_hold_the_same_batches():
    short = stream(make_examples(5, seed=1), epochs=1, shuffle=False)
    long = stream(make_examples(30, seed=2, longest=24), epochs=1)
    shared = share_shape([short, long])
    assert {(s.rows, s.capacity) for s in shared} == {(shared[0].rows, shared[0].capacity)}
    assert shared[0].rows == max(short.rows, long.rows)
    sizes = [dataclasses.astuple(s.capacity) for s in (short, long, shared[0])]
    assert sizes[2] == tuple(np.max(sizes[:2], axis=0)) and sizes[0] != sizes[1]
    for before, after in zip((short, long), shared, strict=True):
        for step in range(before.total_steps):
            one, other = before.batch(step), after.batch(step)
            rows, slots = one.source.shape
            assert other.tokens.shape == (after.rows, 128)
            assert np.array_equal(other.tokens[:rows], one.tokens)
            assert not other.tokens[rows:].any()
            assert np.array_equal(other.target[:rows, :slots], one.target)
            assert (other.response < 8 * 5).sum() == (one.response < 8 * 5).sum()
            assert np.array_equal(other.response_length, one.response_length)
            assert after.used_rows(step) == before.used_rows(step)
    with pytest.raises(ValueError, match=r"^row_length: expected the same of all .* \[128, 256\]"):
        share_shape([short, stream(row_length=256)])


def test_planning_is_fast():
    examples = make_examples(10_000, longest=60)
    started = time.perf_counter()
    s = BatchStream(examples, batch_size=64, row_length=1024, epochs=3)
    assert time.perf_counter() - started < 2
    assert s.total_steps == 471


def test_an_epochs_order_is_drawn_once(monkeypatch):
    """Not for every step: planning a million rows took 38 minutes."""
    drawn = []
    draw = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn.append(seed) or draw(seed))
    s = stream(epochs=4)
    assert drawn == [[5, 0], [5, 1], [5, 2], [5, 3]]
    for step in range(3 * 7, s.total_steps):
        s.batch(step), s.useful_tokens(step), s.used_rows(step)
    assert len(drawn) == 4
    tokens = sum(s.useful_tokens(step) for step in range(7))
    assert tokens == sum(example.length for example in EXAMPLES) and len(drawn) == 5


def test_shape_is_the_least_that_holds_every_step():
    s = stream()
    plans = []
    for step in range(s.total_steps):
        indices = s.indices(step)
        fitted = best_fit([EXAMPLES[i].length for i in indices], 128)
        plans.append([[indices[i] for i in row] for row in fitted])
    assert s.capacity == Capacity.of(EXAMPLES, plans)
    assert s.rows == -(-max(map(len, plans)) // 2) * 2


def test_epochs_that_are_not_planned_ahead_fit_all_the_same(monkeypatch):
    monkeypatch.setattr(stream_shape, "MOST_PLANNED", 1)
    bounded, planned = stream(epochs=40), stream(epochs=1)
    most = np.max([dataclasses.astuple(planned.capacity)], axis=0)
    assert (dataclasses.astuple(bounded.capacity) >= most).all() and bounded.rows >= planned.rows
    for step in range(bounded.total_steps):
        batch = bounded.batch(step)
        assert sorted(bounded.indices(step)) == held(batch).tolist()


@pytest.mark.parametrize("count", [1, 50])
def test_endless_epochs_start_at_once(count):
    started = time.process_time()
    s = stream(EXAMPLES[:count], epochs=10**9)
    assert time.process_time() - started < 10
    last = s.total_steps - 1
    assert s.total_steps == s.steps_per_epoch * 10**9 and held(s.batch(last)).size


@pytest.mark.parametrize(
    "options, field",
    [
        ({"batch_size": 0}, "batch_size"),
        ({"rows_multiple": 0}, "rows_multiple"),
        ({"row_length": 0}, "row_length"),
        ({"epochs": 0}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"process_count": 0}, "process_count"),
        ({"process_index": 2, "process_count": 2}, "process_index"),
        ({"process_count": 3}, "rows_multiple"),
        ({"examples": []}, "examples"),
    ],
)
def test_bad_arguments(options, field):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        stream(**options)


def test_too_long_examples_are_all_named():
    lengths = [e.length for e in EXAMPLES]
    limit = sorted(lengths)[-3]
    with pytest.raises(ValueError, match=f"row_length {limit} tokens") as caught:
        stream(row_length=limit)
    for index, length in enumerate(lengths):
        line = f"examples[{index}]: {length} tokens"
        assert (line in str(caught.value).splitlines()) == (length > limit)


def test_steps_out_of_range():
    s = stream()
    for step in (-1, 21):
        for ask in (s.batch, s.indices, s.used_rows):
            with pytest.raises(IndexError, match=f"expected 0 to 20, found {step}"):
                ask(step)
