"""Shares of several sources in every epoch, and streams of them."""

import time
from collections import Counter

import numpy as np
import pytest

from dignified_jax.data.examples import TokenizedExample
from dignified_jax.data.mixture import Mixture
from dignified_jax.data.stream import BatchStream


def mixture(sizes, weights):
    rng = np.random.default_rng(0)
    return Mixture(rng.permutation(np.repeat(np.arange(len(sizes)), sizes)), weights)


@pytest.mark.parametrize(
    "sizes, weights, draws",
    [
        ((10, 90), (0.7, 0.3), [70, 30]),
        ((10, 90), (7, 3), [70, 30]),  # any unit
        ((50, 50), (1, 1), [50, 50]),
        ((3, 4, 4), (1, 1, 1), [4, 4, 3]),  # 3.67 each
        ((1, 9), (1, 9), [1, 9]),
        ((5, 5), (1e-300, 9e-300), [1, 9]),
    ],
)
def test_an_epoch_has_the_shares(sizes, weights, draws):
    made = mixture(sizes, weights)
    assert made.draws.tolist() == draws
    for epoch in range(3):
        order = made.order(0, epoch)
        assert len(order) == sum(sizes)
        assert np.bincount(made.sources[order]).tolist() == draws


@pytest.mark.parametrize(
    "sizes, weights", [((10, 90), (7, 3)), ((3, 5000), (1, 1)), ((2, 3), (4, 1))]
)
def test_examples_of_a_source_are_drawn_equally_often(sizes, weights):
    made = mixture(sizes, weights)
    drawn = Counter()
    for epoch in range(7):
        order = made.order(3, epoch)
        assert (np.bincount(order, minlength=sum(sizes)) <= made.most_visits).all()
        drawn.update(order.tolist())
        for source in range(len(sizes)):
            counts = [drawn[i] for i in np.flatnonzero(made.sources == source).tolist()]
            assert max(counts) - min(counts) <= 1


def test_the_order_depends_on_seed_and_epoch_alone():
    made = mixture((10, 90), (7, 3))
    orders = [made.order(seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert [mixture((10, 90), (7, 3)).order(1, 1).tolist()] == orders[3:]
    # Sources alternate through the epoch instead of following each other.
    of = made.sources[np.array(orders[0])]
    assert 20 < np.count_nonzero(np.diff(of)) < 70


def test_a_small_source_of_great_weight_is_drawn_in_time():
    made = mixture((1, 200_000), (1, 1))
    start = time.perf_counter()
    order = made.order(0, 5)
    assert time.perf_counter() - start < 1
    assert np.count_nonzero(made.sources[order] == 0) == 100_001


def test_sources_that_can_not_be_drawn():
    with pytest.raises(
        ValueError, match="sources: expected an example of each, found none of number 1"
    ):
        Mixture(np.array([0, 2]), (1, 1, 1))
    with pytest.raises(ValueError, match=r"weights: .* in an epoch of 10, found none of number 1 "):
        Mixture(np.array([0] * 9 + [1]), (1, 0.01))


def stream(made, **options):
    ids = np.ones(1, np.int32)
    examples = [
        TokenizedExample(np.ones(1 + n % 40, np.int32), (ids, ids), n)
        for n in range(len(made.sources))
    ]
    options = {"batch_size": 8, "row_length": 64, "epochs": 5} | options
    return BatchStream(examples, mixture=made, **options)


@pytest.mark.parametrize("bounded", [False, True])
def test_every_batch_of_a_stream_fits_its_shape(bounded, monkeypatch):
    from dignified_jax.data import stream_shape

    if bounded:  # later epochs are not packed ahead: the longest example may fill a batch
        monkeypatch.setattr(stream_shape, "MOST_PLANNED", 1)
    sources = np.array([n % 40 != 39 for n in range(120)], int)
    made = stream(Mixture(sources, (20, 1)))
    seen = [made.indices(step) for step in range(made.total_steps)]
    assert made.steps_per_epoch == 15 and made.total_steps == 75
    for epoch in range(5):
        order = np.concatenate(seen[15 * epoch : 15 * (epoch + 1)])
        np.testing.assert_array_equal(order, made._mixture.order(0, epoch))
    for step in range(made.total_steps):
        batch = made.batch(step)
        assert int(batch.response_mask.sum()) == 16
    # A resumed run asks for any step first.
    np.testing.assert_array_equal(stream(Mixture(sources, (20, 1))).indices(63), seen[63])


def test_a_mixture_must_be_of_the_examples():
    made = mixture((10, 20), (1, 1))
    with pytest.raises(ValueError, match="mixture: expected one of 30 examples, with a shuffle"):
        stream(made, shuffle=False)
