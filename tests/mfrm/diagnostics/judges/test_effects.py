"""Effects of judges against loops over ratings, and planted ones."""

import itertools

import jax
import numpy as np
import pytest

from dignified_jax.mfrm.diagnostics.judges.effects import correlations, judge_effects
from tests.mfrm.diagnostics.conftest import fit_of

pytestmark = pytest.mark.wiring

CATEGORY = np.arange(4)
VALUES = np.array([1.0, 2.0, 3.0, 5.0])


@pytest.fixture(scope="module")
def found(judged):
    with jax.enable_x64(True):
        return judge_effects(judged[0], judged[1], categories=VALUES)


def test_use_of_the_scale(found, by_hand):
    for judge in range(4):
        own = [(k, p) for place, k, _, p in by_hand if place[2] == judge]
        chance = np.array([p[0] + p[3] for _, p in own])
        share = np.mean([k in (0, 3) for k, _ in own])
        z = (share - chance.mean()) * len(own) / np.sqrt((chance * (1 - chance)).sum())
        np.testing.assert_allclose(found.extreme[judge], share)
        np.testing.assert_allclose(found.expected_extreme[judge], chance.mean())
        np.testing.assert_allclose(found.extreme_z[judge], z)
        np.testing.assert_allclose(found.deviation[judge], np.std([VALUES[k] for k, _ in own]))
        total = sum(p for _, p in own) / len(own)
        spread = np.sqrt(total @ VALUES**2 - (total @ VALUES) ** 2)
        np.testing.assert_allclose(found.expected_deviation[judge], spread)
        assert found.categories[judge] == len({k for k, _ in own})
        assert found.count[judge] == len(own)


def test_discrimination_is_one_newton_step(found, by_hand):
    slopes = []
    for judge in range(4):
        own = [(k, x, p) for place, k, x, p in by_hand if place[2] == judge]
        x = np.array([x for _, x, _ in own])
        residual = np.array([k - p @ CATEGORY for k, _, p in own])
        variance = np.array([p @ (CATEGORY - p @ CATEGORY) ** 2 for *_, p in own])
        away = x - variance @ x / variance.sum()
        slopes.append((residual @ away / (variance @ away**2), variance @ away**2))
    slope, information = np.array(slopes).T
    np.testing.assert_allclose(found.discrimination, 1 + slope)
    mean = slope @ information / information.sum()
    np.testing.assert_allclose(found.discrimination_z, (slope - mean) * np.sqrt(information))


def test_halo_is_the_mean_correlation_of_residuals(found, by_hand):
    halos, pairs = [], []
    for judge in range(4):
        table = np.full((18, 3), np.nan)
        for (m, q, j, i), k, _, p in by_hand:
            if j == judge:
                deviation = np.sqrt(p @ (CATEGORY - p @ CATEGORY) ** 2)
                table[6 * m + q, i] = (k - p @ CATEGORY) / deviation
        values, number = [], 0
        for a, b in itertools.combinations(range(3), 2):
            both = np.isfinite(table[:, [a, b]]).all(axis=1)
            values.append(np.corrcoef(table[both, a], table[both, b])[0, 1])
            number += both.sum() - 1
        halos.append(np.mean(values))
        pairs.append(number)
    np.testing.assert_allclose(found.halo, halos, atol=1e-9)
    others = [np.mean(np.delete(halos, judge)) for judge in range(4)]
    z = (np.array(halos) - others) * np.sqrt(pairs)
    np.testing.assert_allclose(found.halo_z, z, atol=1e-8)


def test_correlations_of_columns_that_do_not_vary():
    values = np.array([[1.0, 2.0, 5.0], [2.0, 2.0, 0.0], [3.0, 2.0, 7.0], [5.0, 2.0, 1.0]])
    present = np.ones((4, 3), bool)
    present[3, 2] = False
    found, number = correlations(values, present)
    assert np.isnan(found[0, 1]) and number[0, 2] == 3
    np.testing.assert_allclose(found[0, 2], np.corrcoef(values[:3, 0], values[:3, 2])[0, 1])


def test_planted_effects_are_named():
    """Known severities and qualities: judge 1 has a halo, judge 2 keeps to the middle."""
    rng = np.random.default_rng(0)
    shape = (4, 60, 4, 5)
    step = np.array([[-1.5, 0.0, 1.5]])
    quality = rng.normal(size=shape[:2])
    logit = np.broadcast_to(quality[:, :, None, None], shape).copy()
    logit[:, :, 1] += 1.5 * rng.normal(size=(4, 60, 1))
    passed = np.concatenate([[0], np.cumsum(step)])
    weight = np.exp(logit[..., None] * CATEGORY - passed)
    weight[:, :, 2] *= [0.3, 1, 1, 0.3]
    chance = np.cumsum(weight / weight.sum(axis=-1, keepdims=True), axis=-1)
    score = (rng.random(shape)[..., None] > chance).sum(axis=-1)
    counts = (score[..., None] == CATEGORY).astype(int)
    fit = fit_of(quality.astype(np.float32), np.zeros(4), np.zeros(5), np.zeros(60), step)
    names = judge_effects(fit, counts).names()
    assert names[0] == names[3] == ""
    assert "halo" in names[1] and names[2] == "central tendency"
