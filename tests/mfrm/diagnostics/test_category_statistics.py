"""Category statistics against loops over ratings, root finding and grids."""

import types

import jax
import numpy as np
import pytest
import scipy.optimize

from dignified_jax.mfrm.diagnostics.category_statistics import category_statistics, places_of
from dignified_jax.mfrm.diagnostics.scale import Scale, category_curves
from tests.mfrm.diagnostics.conftest import fit_of

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def found(judged):
    with jax.enable_x64(True):
        return category_statistics(judged[0], judged[1])


def test_counts_measures_and_mean_squares_are_sums_over_ratings(found, by_hand):
    category = np.arange(4)
    for k in range(4):
        own = [(x, p) for _, given, x, p in by_hand if given == k]
        assert found.count[0, k] == found.used[0, k] == len(own)
        np.testing.assert_allclose(found.average_measure[0, k], np.mean([x for x, _ in own]))
        chance = np.array([p[k] for *_, p in by_hand])
        logit = np.array([x for _, _, x, _ in by_hand])
        np.testing.assert_allclose(found.expected_count[0, k], chance.sum())
        expected = (chance * logit).sum() / chance.sum()
        np.testing.assert_allclose(found.expected_measure[0, k], expected)

        def square(p, k=k):
            mean = p @ category
            return (k - mean) ** 2, p @ (category - mean) ** 2

        every = [(p[k], *square(p)) for *_, p in by_hand]
        mine = [square(p) for _, p in own]
        infit = sum(s for s, _ in mine) / sum(c * s for c, s, _ in every)
        outfit = sum(s / v for s, v in mine) / sum(c * s / v for c, s, v in every)
        np.testing.assert_allclose([found.infit[0, k], found.outfit[0, k]], [infit, outfit])


def test_places_are_where_the_curves_say(judged, found):
    step = judged[0].step[0]
    category = np.arange(4)

    def chance(x):
        weight = np.exp(x * category - np.concatenate([[0], np.cumsum(step)]))
        return weight / weight.sum()

    def root(function):
        return scipy.optimize.brentq(function, -30, 30, xtol=1e-13)

    for k in range(1, 4):
        np.testing.assert_allclose(found.threshold[0, k], step[k - 1])
        np.testing.assert_allclose(chance(step[k - 1])[k], chance(step[k - 1])[k - 1])
        half = root(lambda x, k=k: chance(x)[k:].sum() - 0.5)
        np.testing.assert_allclose(found.thurstone[0, k], half, atol=1e-9)
        minus = root(lambda x, k=k: chance(x) @ category - (k - 0.5))
        np.testing.assert_allclose(found.minus_half[0, k], minus, atol=1e-9)
    for k, score in enumerate((0.25, 1, 2, 2.75)):
        at = root(lambda x, score=score: chance(x) @ category - score)
        np.testing.assert_allclose(found.expectation[0, k], at, atol=1e-9)
    grid = np.linspace(-8, 8, 16001)
    chances = np.array([chance(x) for x in grid])
    np.testing.assert_allclose(found.peak[0, 1:3], chances[:, 1:3].max(axis=0), atol=1e-6)
    first = [grid[np.argmax(chances.argmax(axis=1) == k)] for k in range(1, 4)]
    np.testing.assert_allclose(found.most_probable_from[0, 1:], first, atol=2e-3)
    np.testing.assert_allclose(found.standard_error[0, 1:], judged[0].standard_error.step[0])


def invented(step, se=0.1):
    step = np.array(step, float)
    error = types.SimpleNamespace(step=np.full(step.shape, se))
    return types.SimpleNamespace(step=step, standard_error=error, score=np.zeros(1))


def test_disordered_thresholds_and_a_category_that_is_never_likely():
    """Steps 1, -1, 0.5: category 1 is never the most likely, category 2 from (1 - 1) / 2 = 0."""
    places = places_of(np.array([1.0, -1.0, 0.5]))
    assert places["disordered"].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(places["most_probable_from"], [-np.inf, np.nan, 0.0, 0.5])


def test_unused_categories_are_closed_up():
    """Partial credit; the second item lacks its lowest and its third category."""
    scale = Scale.of(invented([[-1.0, 0.0, 1.0], [-np.inf, np.nan, 0.3]]))
    assert scale.used.tolist() == [[True] * 4, [False, True, False, True]]
    chance = scale.chances(np.array([0.2, 0.2]))
    expected = 1 / (1 + np.exp(-(0.2 - 0.3)))
    np.testing.assert_allclose(chance[1], [0, 1 - expected, 0, expected])
    assert abs(chance[0].sum() - 1) < 1e-12


def test_curves(judged):
    curves = category_curves(judged[0])
    category = np.arange(4)
    np.testing.assert_allclose(curves.probability.sum(axis=1), 1)
    slope = np.gradient(curves.expected[0], curves.logit)  # information is dE / dx
    np.testing.assert_allclose(curves.information[0, 1:-1], slope[1:-1], atol=2e-3)
    np.testing.assert_allclose(
        curves.expected[0], np.einsum("kn,k->n", curves.probability[0], category)
    )


def test_yes_and_no_are_two_categories(plan):
    zeros = [np.zeros(size, np.float32) for size in plan[0].shape]
    fit = fit_of(np.zeros(plan[0].shape[:2], np.float32), zeros[2], zeros[3], zeros[1])
    found = category_statistics(fit, *plan)
    successes, trials = (array.sum() for array in plan)
    assert found.count.tolist() == [[trials - successes, successes]]
    np.testing.assert_allclose(found.expectation, [[-np.log(3), np.log(3)]], atol=1e-9)
