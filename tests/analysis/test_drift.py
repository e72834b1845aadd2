"""Drift and CKA against NumPy on all states at once, and on a model that was moved by hand."""

import gc
import itertools
import tracemalloc

import jax
import numpy as np
import pytest

from dignified_jax.analysis import cka, drift
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from tests.analysis import planted

pytestmark = pytest.mark.wiring

RNG = np.random.default_rng(0)


def brute_hsic(x, y):
    """The U-statistic over all quadruples of different texts."""
    k, m, n = x @ x.T, y @ y.T, len(x)
    total = sum(
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        for i, j, q, r in itertools.permutations(range(n), 4)
    )
    return total / (n * (n - 1) * (n - 2) * (n - 3))


def test_hsic_is_the_u_statistic():
    x, y = RNG.normal(size=(6, 3)) + 5, RNG.normal(size=(6, 4))
    y[:, 0] += x[:, 0]
    want = brute_hsic(x, y), brute_hsic(x, x), brute_hsic(y, y)
    np.testing.assert_allclose(cka.hsic(x, y), want, rtol=1e-9)


def test_cka_is_1_for_a_rotation_and_near_0_for_other_states():
    x = RNG.normal(size=(96, 3, 5))
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    other = RNG.normal(size=(96, 5))
    y = np.stack([3 * x[:, 0] @ turn + 7, other, x[:, 2] + 0.5 * other], axis=1)
    sums = cka.CkaSums()
    for start in range(0, 96, 32):
        sums.add(x[start : start + 32], y[start : start + 32])
    sums.add(x[:3], y[:3])  # too few, left out
    value, error = sums.estimate()
    assert value[0] == pytest.approx(1, abs=1e-9) and abs(value[1]) < 0.15 < value[2] < 0.95
    parts = np.array(sums.parts)
    assert parts.shape == (3, 3, 3)
    left = [np.delete(parts, out, axis=0).sum(0) for out in range(3)]
    left = np.array([p[:, 0] / np.sqrt(p[:, 1] * p[:, 2]) for p in left])
    np.testing.assert_allclose(error, np.sqrt(2) * left.std(axis=0), rtol=1e-9, atol=1e-12)


def vector(name, layer, layers=3, width=8):
    return PersonaVector(name, *RNG.normal(size=(3, layers, width)).astype(np.float32), layer)


def test_sums_equal_numpy_on_all_states_at_once():
    base = RNG.normal(size=(40, 3, 8)).astype(np.float32)
    moved = (base + 0.3 * RNG.normal(size=base.shape)).astype(np.float32)
    vectors = [vector("A", 1), vector("E", 2)]
    sums = drift.DriftSums(vectors)
    for start in range(0, 40, 7):
        sums.add(base[start : start + 7], moved[start : start + 7])
    found = sums.result()
    lengths = np.linalg.norm(base, axis=-1), np.linalg.norm(moved, axis=-1)
    cosines = np.sum(base * moved, axis=-1) / (lengths[0] * lengths[1])
    np.testing.assert_allclose(found.cosine.value, cosines.mean(0), rtol=1e-5)
    half = 1.96 * cosines.std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(found.cosine.high - found.cosine.value, half, rtol=1e-4)
    change = (np.linalg.norm(moved - base, axis=-1) / lengths[0]).mean(0)
    np.testing.assert_allclose(found.change.value, change, rtol=1e-5)
    along = np.array(
        [
            np.sum((moved - base) * v.difference, axis=-1) / np.sum(v.difference**2, axis=-1)
            for v in vectors
        ]
    )
    np.testing.assert_allclose(found.shifts.value, along.mean(1), rtol=1e-4, atol=1e-6)
    mean = (moved - base).mean(0)
    for number, each in enumerate(vectors):
        lengths = np.linalg.norm(mean, axis=-1) * np.linalg.norm(each.difference, axis=-1)
        want = np.sum(mean * each.difference, axis=-1) / lengths
        np.testing.assert_allclose(found.alignment[number], want, rtol=1e-4, atol=1e-6)
    own = along[[0, 1], :, [1, 2]]
    np.testing.assert_allclose(found.correlation, np.corrcoef(own), rtol=1e-4, atol=1e-6)
    assert found.texts == 40


def test_one_text_has_no_interval_and_none_is_refused():
    sums = drift.DriftSums([])
    with pytest.raises(ValueError, match="at least one text, found none"):
        sums.result()
    states = RNG.normal(size=(1, 3, 8))
    sums.add(states, states)
    found = sums.result()
    np.testing.assert_allclose(found.cosine.value, 1)
    assert np.isnan(found.cosine.low).all() and np.isnan(found.cka.value).all()


def test_a_model_that_writes_more_moves_along_the_planted_direction(planted_model):
    """Half as much again at the layer that writes: the shift there is half of the vector."""
    model, params, direction = planted_model
    kernel = params["layers"]["self_attn"]["o_proj"]["kernel"]
    louder = jax.tree.map(lambda leaf: leaf, params)
    louder["layers"]["self_attn"]["o_proj"] = {"kernel": 1.5 * kernel}
    base, after = (
        LoadedModel(name, name, model, own, None) for name, own in (("b", params), ("m", louder))
    )
    difference = np.zeros((3, planted.WIDTH), np.float32)
    difference[1:] = 0.2 * direction
    readings = planted.last_tokens(planted.prompts(True, count=40))
    plane = PersonaVector("D", difference, difference, 0 * difference, 1)
    longest = max(len(reading.tokens) for reading in readings)
    found = drift.measure(base, after, readings, longest, [plane])
    values = 5.0 / np.sqrt((25 + 1 + 0.1**2 * 24) / 32)  # about what the marker's value is
    written = np.mean([6 * values / len(reading.tokens) for reading in readings])
    assert found.shifts.value[0, 0] == 0
    np.testing.assert_allclose(found.shifts.value[0, 1:], 0.5 * written / 0.2, rtol=0.05)
    np.testing.assert_allclose(found.cosine.value[0], 1, atol=1e-6)
    assert found.cosine.value[1] < 0.999
    quiet = planted.last_tokens(planted.prompts(False, count=4))
    np.testing.assert_allclose(
        drift.measure(base, after, quiet, longest).cosine.value, 1, atol=1e-6
    )


def test_memory_does_not_grow_with_the_texts(planted_model):
    """1,664 texts take what 128 take, but for a few numbers of each minibatch, and for the 60 kB of
    JAX's own that come at one time or another."""
    model, params, direction = planted_model
    base = LoadedModel("b", "b", model, params, None)
    plane = PersonaVector("D", *np.stack(3 * [np.tile(direction, (3, 1))]), 1)
    text = planted.prompts(True, count=1)[0]

    class Many:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitem__(self, chosen):
            places = range(self.count)[chosen]
            gc.collect()  # what waits for the collector is no growth
            return planted.last_tokens([(5 + n % 50, *text) for n in places])

    def peak(count):
        tracemalloc.start()
        found = drift.measure(base, base, Many(count), len(text) + 1, [plane])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.texts == count
        return most

    peak(64)  # compiles
    few, many = peak(128), peak(1664)
    states = 1536 * planted.LAYERS * planted.WIDTH * 4  # of the 1,536 more texts, one model's
    assert many - few < states / 4, (few, many)
