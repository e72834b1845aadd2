"""Agreement between judges: published numbers, loops over units, and the krippendorff package."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from dignified_jax import mfrm
from dignified_jax.agreement import fleiss_kappa, icc_2k, krippendorff_alpha
from dignified_jax.mfrm.diagnostics.agreement import share_chances
from tests.mfrm.diagnostics.conftest import SHAPE

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def made():
    """(fit, counts, (M, Q, J, I) scores with NaN for the fifth that is missing)."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 6, 1, 3))
    scores = np.clip(np.round(2 + truth + 0.7 * rng.normal(size=SHAPE)), 1, 4)
    scores[rng.random(SHAPE) < 0.2] = np.nan
    counts = (scores[..., None] == np.arange(1, 5)).astype(int)
    with jax.enable_x64(True):
        return mfrm.fit(counts, model="rating_scale", method="ridge"), counts, scores


@pytest.fixture(scope="module")
def found(made):
    fit, counts, _ = made
    with jax.enable_x64(True):
        return mfrm.agreement(
            fit, counts, categories=(1, 2, 3, 4), groups={"two": [0, 2]}, replicates=40
        )


def units(scores, judges):
    """(units, judges) scores."""
    return np.moveaxis(scores, 2, 3).reshape(-1, scores.shape[2])[:, judges]


def test_pairs_equal_loops(made, found):
    fit, _, scores = made
    step = np.asarray(fit.step)[0]
    logit = np.asarray(fit.quality - fit.question)[:, :, None, None]
    logit = logit - np.asarray(fit.judge)[:, None] - np.asarray(fit.rubric)
    weight = np.exp(logit[..., None] * np.arange(4) - np.concatenate([[0], np.cumsum(step)]))
    chance = np.moveaxis(weight / weight.sum(-1, keepdims=True), 2, 3).reshape(-1, 4, 4)
    for a, b in itertools.combinations(range(4), 2):
        pair = units(scores, [a, b])
        both = np.isfinite(pair).all(axis=1)
        x, y = pair[both].T
        exact = np.mean(x == y)
        expected = (chance[both, a] * chance[both, b]).sum(axis=1).mean()
        by_chance = sum(np.mean(x == k) * np.mean(y == k) for k in range(1, 5))
        assert found.common[a, b] == both.sum()
        for name, value in {
            "exact": exact,
            "expected": expected,
            "rasch_kappa": (exact - expected) / (1 - expected),
            "cohen_kappa": (exact - by_chance) / (1 - by_chance),
        }.items():
            np.testing.assert_allclose(getattr(found, name)[[a, b], [b, a]], value, atol=1e-9)
    assert np.isnan(found.exact[0, 0])


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_alpha_equals_the_package(made, found, level):
    krippendorff = pytest.importorskip("krippendorff")
    for judges, figures in (([0, 1, 2, 3], found.overall), ([0, 2], found.groups["two"])):
        expected = krippendorff.alpha(
            reliability_data=units(made[2], judges).T, level_of_measurement=level
        )
        value, lower, upper = figures[f"alpha_{level}"]
        np.testing.assert_allclose(value, expected, atol=1e-9)
        assert lower < value < upper


def test_overall_is_the_mean_over_pairs(found):
    weight = np.triu(found.common, 1)
    known = weight > 0
    for name in ("exact", "expected", "cohen_kappa"):
        mean = np.average(getattr(found, name)[known], weights=weight[known])
        np.testing.assert_allclose(found.overall[name][0], mean, atol=1e-12)


def test_one_question_has_no_other_samples():
    """Intervals of no width would promise certainty."""
    rng = np.random.default_rng(0)
    counts = np.eye(3, dtype=int)[rng.integers(0, 3, size=(6, 1, 3, 2))]
    fit = mfrm.fit(counts, model="rating_scale", method="ridge")
    value, lower, upper = mfrm.agreement(fit, counts).overall["exact"]
    assert 0 < value < 1 and np.isnan([lower, upper]).all()


def test_published_numbers():
    """Shrout & Fleiss (1979), table 2; Fleiss (1971) as often reprinted, 14 judges."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert round(icc_2k(np.array(ratings, float)), 4) == 0.6201
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    assert round(fleiss_kappa(counts), 3) == 0.210


def test_perfect_agreement():
    counts = np.array([[3, 0], [0, 3], [3, 0]])
    assert fleiss_kappa(counts) == 1.0
    assert krippendorff_alpha(counts, 1.0 - np.eye(2)) == 1.0


def test_refusals(made):
    fit, counts, _ = made
    with pytest.raises(ValueError, match=r"groups\['x'\] must list two judges of 4"):
        mfrm.agreement(fit, counts, groups={"x": [0, 4]})


def test_unexpected_responses_by_a_loop(made):
    fit, counts, scores = made
    with jax.enable_x64(True):
        found = mfrm.unexpected_responses(fit, counts, categories=(1, 2, 3, 4), least=1.5)
    step = np.concatenate([[0], np.cumsum(np.asarray(fit.step)[0])])
    expected = {}
    for m, q, j, i in np.argwhere(np.isfinite(scores)):
        x = float(fit.quality[m, q] - fit.question[q] - fit.judge[j] - fit.rubric[i])
        p = np.exp(x * np.arange(4) - step)
        p /= p.sum()
        mean = p @ np.arange(1, 5)
        size = (scores[m, q, j, i] - mean) / np.sqrt(p @ (np.arange(1, 5) - mean) ** 2)
        if abs(size) >= 1.5:
            expected[m, q, j, i] = size
    places = zip(found.model, found.question, found.judge, found.rubric, strict=True)
    listed = dict(zip(places, found.standardized, strict=True))
    assert found.total == len(expected) == len(listed) > 3
    for place, size in expected.items():
        np.testing.assert_allclose(listed[place], size, atol=1e-8)
    assert (np.diff(np.abs(found.standardized)) <= 0).all()


def test_chances_of_shares_are_binomial():
    """Judges with 1, 2 and 4 judgments, at the shares that occur."""
    shares = np.array([0.0, 0.25, 0.5, 1.0])
    success, number = np.array([0.3, 0.6, 0.8]), np.array([1.0, 2.0, 4.0])
    found = share_chances(success, number, shares)
    expected = [[scipy.stats.binom.pmf(n * v, n, p) if n * v % 1 == 0 else 0 for v in shares]
                for n, p in zip(number, success, strict=True)]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_chances_of_shares_of_many_judgments():
    """Ways to choose overflow from a thousand on; no table of all numbers up to the largest."""
    shares, number = np.array([0.5, 0.9, 1.0]), np.array([2000.0, 3000.0, 2.0**31])
    success = np.array([0.5, 0.9, 0.5])
    found = share_chances(success, number, shares)
    expected = [
        [scipy.stats.binom.pmf(round(n * v), n, p) if (n * v) % 1 == 0 else 0 for v in shares]
        for n, p in zip(number, success, strict=True)
    ]
    # Logarithms of factorials of 2^31 are 4e10.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-300)
    assert found[1, 1] > 0.02 and found[2, 0] > 1e-5


def test_scores_that_do_not_vary_have_no_reliability():
    """Whatever rounding their mean has."""
    for value in (0.1, 0.3, 0.7, 1 / 3):
        for shape in ((7, 3), (20, 4), (5, 7)):
            assert np.isnan(icc_2k(np.full(shape, value)))
