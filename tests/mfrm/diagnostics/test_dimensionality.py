"""Dimensionality: eigenvalues by hand, a planted second dimension, and a reference by refitting."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.dimensionality import dimensionality
from tests.mfrm.diagnostics.conftest import CATEGORIES, SHAPE

pytestmark = pytest.mark.wiring


def residuals(by_hand, axis):
    """(answers, V) standardised residuals by loops, NaN where there are none."""
    shape = (*SHAPE[:2], SHAPE[axis])
    total, spread = np.zeros(shape), np.zeros(shape)
    for place, k, _, p in by_hand:
        mean = p @ np.arange(CATEGORIES)
        at = (place[0], place[1], place[axis])
        total[at] += k - mean
        spread[at] += p @ (np.arange(CATEGORIES) - mean) ** 2
    with np.errstate(invalid="ignore"):
        return (total / np.sqrt(spread)).reshape(-1, shape[2])


@pytest.mark.parametrize(("facet", "axis"), [("judge", 2), ("rubric", 3)])
def test_eigenvalues_equal_those_of_residuals_by_hand(judged, by_hand, facet, axis):
    fit, counts, _ = judged
    with jax.enable_x64(True):
        found = dimensionality(fit, counts, facet=facet, replicates=0)
    values = residuals(by_hand, axis)
    centred = np.nan_to_num(values - np.nanmean(values, axis=0))
    size = np.sqrt((centred**2).sum(axis=0))
    correlation = centred.T @ centred / np.outer(size, size)
    np.testing.assert_allclose(found.eigenvalue, np.linalg.eigvalsh(correlation)[::-1], atol=1e-9)
    np.testing.assert_allclose(found.eigenvalue.sum(), SHAPE[axis])
    # A loading is the correlation with the component's scores.
    component = centred / size @ np.linalg.eigh(correlation)[1][:, -1]
    loading = np.array([np.corrcoef(column, component)[0, 1] for column in centred.T])
    np.testing.assert_allclose(np.abs(found.loading), np.abs(loading), atol=0.05)
    assert found.answers == 18


def test_refusals(judged):
    fit, counts, _ = judged
    with pytest.raises(ValueError, match="facet must be one of judge, rubric"):
        dimensionality(fit, counts, facet="model")


@pytest.mark.slow
def test_the_reference_is_that_of_refitted_ratings():
    """Ratings drawn from the model and fitted anew: eigenvalues within 0.05 on average."""
    rng = np.random.default_rng(3)
    quality = rng.normal(size=(4, 30, 1, 1))
    severity = np.linspace(-1, 1, 5)[:, None] + np.array([-0.3, 0.0, 0.3])

    def draw():
        chance = 1 / (1 + np.exp(-(quality - severity)))
        return (rng.random(chance.shape) < chance).astype(int)

    ratings = draw()
    fit = mfrm.fit(ratings, method="laplace")
    found = dimensionality(fit, ratings, replicates=100)
    refitted = []
    for _ in range(40):
        again = draw()
        refitted.append(
            dimensionality(mfrm.fit(again, method="laplace"), again, replicates=0).eigenvalue
        )
    np.testing.assert_allclose(found.reference, np.mean(refitted, axis=0), atol=0.05)


@pytest.mark.slow
def test_a_second_dimension_is_beyond_chance():
    rng = np.random.default_rng(4)
    quality, other = rng.normal(size=(2, 4, 40, 1, 1))
    side = np.array([1, 1, 1, -1, -1, -1])[:, None]
    chance = 1 / (1 + np.exp(-(quality + 1.5 * side * other + np.zeros((1, 1, 1, 3)))))
    ratings = (rng.random(chance.shape) < chance).astype(int)
    found = dimensionality(mfrm.fit(ratings, method="laplace"), ratings)
    assert found.eigenvalue[0] > found.reference_upper[0] + 0.5
    assert (np.sign(found.loading) == np.sign(found.loading[0]) * side[:, 0]).all()
