"""Groups of judges: by hand from fits of their own, and planted constructs."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.judges.groups import compare_groups
from tests.mfrm import dense
from tests.mfrm.diagnostics.conftest import fit_of

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def made():
    """(fit, ratings): judges 0 to 2 and 3 to 5 see qualities that correlate by about 0.5."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 8, 40, 1, 1)) + rng.normal(size=(1, 8, 1, 1, 1))
    other = 0.5 * one + np.sqrt(0.75) * other
    quality = np.concatenate([np.repeat(one, 3, axis=2), np.repeat(other, 3, axis=2)], axis=2)
    severity = np.array([0.4, 0.5, 0.6, -0.4, -0.5, -0.6])[:, None] + np.array([-0.5, 0, 0, 0.5])
    chance = 1 / (1 + np.exp(-(1.5 * quality - severity)))
    ratings = (rng.random(chance.shape) < chance).astype(int)
    return mfrm.fit(ratings, method="laplace"), ratings


@pytest.mark.slow
def test_severity_and_construct(made):
    fit, ratings = made
    (found,) = compare_groups(fit, ratings, groups={"human": [0, 1, 2], "llm": [3, 4, 5]})
    severity = np.asarray(fit.judge)
    np.testing.assert_allclose(
        found.difference, severity[:3].mean() - severity[3:].mean(), rtol=1e-5
    )
    alone = [mfrm.fit(ratings[:, :, part], method="laplace") for part in (slice(0, 3), slice(3, 6))]
    scores = [np.asarray(one.score) for one in alone]
    reliability = [
        1 - np.mean(np.square(one.standard_error.score)) / np.var(one.score) for one in alone
    ]
    r = np.corrcoef(*scores)[0, 1]
    models, answers = found.constructs
    np.testing.assert_allclose(models.correlation, r, atol=1e-5)
    np.testing.assert_allclose(models.reliability, reliability, atol=1e-5)
    np.testing.assert_allclose(models.disattenuated, r / np.sqrt(np.prod(reliability)), atol=1e-5)
    half = 1.959964 / np.sqrt(5)
    bounds = np.tanh(np.arctanh(r) + np.array([-half, half])) / np.sqrt(np.prod(reliability))
    np.testing.assert_allclose([models.lower, models.upper], np.clip(bounds, -1, 1), atol=1e-5)
    assert answers.count == 320 and answers.lower < 0.5 < answers.upper
    assert answers.correlation < answers.disattenuated and answers.upper < 0.8


@pytest.mark.slow
def test_the_error_of_a_difference_equals_the_exact_one(plan):
    """Two judges against one, by the covariance of a dense solve; 5% where nothing is balanced."""
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, method="ridge")
        (found,) = compare_groups(fit, *plan, groups={"a": [0], "b": [1, 2]})
    covariance = dense.dense_ridge(*plan, "model", (1, 1, 1, 1)).judge_covariance
    contrast = np.array([1.0, -0.5, -0.5])
    exact = np.sqrt(contrast @ covariance @ contrast)
    np.testing.assert_allclose(found.standard_error, exact, rtol=0.05)
    np.testing.assert_allclose(found.difference, contrast @ np.asarray(fit.judge))


def test_overlapping_groups_are_not_compared_and_unknown_judges_refused():
    ratings = np.ones((2, 2, 6, 1), int)
    fit = fit_of(np.zeros((2, 2)), np.zeros(6), np.zeros(1), np.zeros(2))
    assert compare_groups(fit, ratings, groups={"a": [0, 1], "b": [1, 2]}) == []
    with pytest.raises(ValueError, match="groups must list judges by number, from 0 to 5"):
        compare_groups(fit, ratings, groups={"a": [6], "b": [1]})


def test_the_error_of_a_difference_on_other_scales(plan):
    """From an anchored judge it is the judge's own; a group anchor changes no difference."""
    judges = {"a": [1], "b": [0, 2]}
    anchors = {"judge": np.array([0.3, np.nan, -0.2])}
    fit = mfrm.fit(*plan, method="ridge", anchors=anchors)
    (found,) = compare_groups(fit, *plan, groups=judges)
    np.testing.assert_allclose(found.standard_error, fit.standard_error.judge[1])
    fit = mfrm.fit(*plan, method="ridge")
    covariance = dense.dense_ridge(*plan, "model", (1, 1, 1, 1)).judge_covariance
    exact = np.sqrt(covariance[1, 1] + covariance[2, 2] - 2 * covariance[1, 2])
    for levels, tolerance in (([0], 0.05), ([0, 2], 1e-6)):
        moved = mfrm.anchor_groups(fit, *plan, groups={"judge": (levels, 0.7)})
        (found,) = compare_groups(moved, *plan, groups={"a": [1], "b": [2]})
        np.testing.assert_allclose(found.standard_error, exact, rtol=tolerance)
