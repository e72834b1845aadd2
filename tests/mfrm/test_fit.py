"""The ridge estimates against a dense Newton method on the full KKT system, in float64."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE, assert_fits_agree
from tests.mfrm.dense import dense_ridge, simulate

pytestmark = pytest.mark.wiring

# theta, judge, rubric, question
RIDGES = [(1.0, 1.0, 1.0, 1.0), (0.3, 2.0, 0.5, 4.0), (0.01, 0.02, 0.03, 0.04)]


def as_fit(reference):
    """A dense reference with the attributes of `Fit`."""

    class Reference:
        standard_error = type("", (), reference.standard_error)
        score_covariance = reference.score_covariance

    for name, value in reference.estimate.items():
        setattr(Reference, name, value)
    return Reference


@pytest.mark.parametrize("center", ["model", "grand", "zero"])
@pytest.mark.parametrize("ridge", RIDGES)
def test_equals_dense_kkt_newton(plans, center, ridge):
    for successes, trials in plans:
        reference = dense_ridge(successes, trials, center, ridge)
        with jax.enable_x64(True):
            fit = mfrm.fit(successes, trials, center=center, precision=mfrm.Precision(*ridge))
            assert fit.converged and fit.status == mfrm.Status.CONVERGED
            assert fit.theta.dtype == np.float64
        # A standard error that is 0 (the absent intercept) is the root of rounding over there.
        assert_fits_agree(fit, as_fit(reference), atol=1e-10, errors=1e-7)
        for name in ("score", "judge", "rubric", "question", "quality"):
            np.testing.assert_allclose(
                getattr(fit.standard_error, name), reference.standard_error[name], atol=1e-10
            )
        np.testing.assert_allclose(fit.score_covariance, reference.score_covariance, atol=1e-10)
        np.testing.assert_allclose(fit.log_likelihood, reference.log_likelihood, atol=1e-9)
        np.testing.assert_allclose(
            np.sqrt(np.diag(fit.score_covariance)), fit.standard_error.score, atol=1e-12
        )


def test_one_of_everything_equals_dense():
    """Facets of a single level, which their zero sum holds at 0."""
    successes, trials = simulate((3, 1, 1, 3), 3, most_trials=9)
    reference = dense_ridge(successes, trials, "model", RIDGES[1])
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, precision=mfrm.Precision(*RIDGES[1]))
    assert_fits_agree(fit, as_fit(reference), atol=1e-10, errors=1e-7)


def test_zero_sums_and_composition(plan):
    fit = mfrm.fit(*plan, method="ridge")
    for facet in (fit.judge, fit.rubric, fit.question):
        assert abs(float(facet.sum())) < 1e-5
    np.testing.assert_allclose(fit.quality, fit.intercept[:, None] + fit.theta, atol=1e-6)
    np.testing.assert_allclose(fit.score, fit.quality.mean(axis=1), atol=1e-6)


def test_no_trials_means_one_of_each(plans):
    successes = np.minimum(plans[1][0], 1)
    assert_fits_agree(
        mfrm.fit(successes, method="laplace"),
        mfrm.fit(successes, np.ones(SHAPE), method="laplace"),
        atol=0,
    )


def test_repeats_equal_sums(plan):
    """Twice the trials is twice the information: the same as fitting with half the ridges."""
    successes, trials = plan
    with jax.enable_x64(True):
        twice = mfrm.fit(2 * successes, 2 * trials, precision=mfrm.Precision(2.0, 2.0, 2.0, 2.0))
        once = mfrm.fit(successes, trials, method="ridge")
    for found, expected in [
        (twice.quality, once.quality),
        (np.sqrt(2) * np.asarray(twice.standard_error.score), once.standard_error.score),
        (twice.log_likelihood, 2 * float(once.log_likelihood)),
    ]:
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_anchors_equal_dense(plan):
    center = "model"
    anchors = {
        "judge": np.array([0.5, np.nan, -0.2]),
        "question": np.where(np.arange(8) < 3, 0.3, np.nan),
    }
    reference = dense_ridge(*plan, center, RIDGES[1], anchors)
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, center=center, precision=mfrm.Precision(*RIDGES[1]), anchors=anchors)
    assert_fits_agree(fit, as_fit(reference), atol=1e-10, errors=1e-7)
    np.testing.assert_array_equal(np.asarray(fit.judge)[[0, 2]], [0.5, -0.2])
    np.testing.assert_array_equal(fit.standard_error.question[:3], 0)
    assert abs(np.asarray(fit.judge).sum()) > 0.1


def test_a_start_far_from_the_solution(plan):
    """Severe anchored judges: full Newton steps from there overshoot, without end."""
    anchors = {"judge": np.array([12.0, 12.4, 11.7]), "question": np.zeros(8)}
    ridge = (1e-4, 1.0, 1.0, 1.0)
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, precision=mfrm.Precision(*ridge), anchors=anchors)
    assert fit.converged
    assert_fits_agree(
        fit, as_fit(dense_ridge(*plan, "model", ridge, anchors)), atol=1e-8, errors=1e-6
    )


def test_anchoring_at_the_estimates_changes_nothing_else(plan):
    with jax.enable_x64(True):
        free = mfrm.fit(*plan, method="ridge")
        anchors = {"judge": free.judge, "question": free.question}
        fixed = mfrm.fit(*plan, method="ridge", anchors=anchors)
    np.testing.assert_allclose(fixed.quality, free.quality, atol=1e-10)


def test_extreme_cells_and_levels_are_flagged():
    successes, trials = np.ones(SHAPE, int), np.full(SHAPE, 2)
    successes[0, 0] = 2
    successes[1, 1] = 0
    trials[1, 2], successes[1, 2] = 0, 0
    expected = np.zeros(SHAPE[:2])
    expected[0, 0], expected[1, 1], expected[1, 2] = 1, -1, 2
    fit = mfrm.fit(successes, trials, method="laplace")
    np.testing.assert_array_equal(fit.extreme.cell, expected)
    np.testing.assert_array_equal(fit.extreme.judge, [0, 0, 0])
    successes[:, :, 1], successes[:, :, :, 1], successes[3] = 0, 0, 0
    fit = mfrm.fit(successes, trials, method="laplace")
    np.testing.assert_array_equal(fit.extreme.judge, [0, -1, 0])
    np.testing.assert_array_equal(fit.extreme.rubric, [0, -1])
    np.testing.assert_array_equal(fit.extreme.model, [0, 0, 0, -1])
    successes[:, 5] = trials[:, 5]
    assert mfrm.fit(successes, trials, method="laplace").extreme.question[5] == 1


@pytest.mark.parametrize("good", [True, False])
def test_a_model_without_a_finite_score(plans, good):
    """Its limit: an infinite score, and all else as if it were not there."""
    successes, trials = plans[0][0].copy(), plans[0][1]
    successes[1] = trials[1] if good else 0
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="ridge")
    kept = [0, 2, 3]
    others = dense_ridge(successes[kept], trials[kept], "model", RIDGES[0])
    assert fit.status == mfrm.Status.EXTREME_MODEL and fit.converged
    assert np.asarray(fit.score)[1] == (np.inf if good else -np.inf)
    assert np.isinf(np.asarray(fit.standard_error.score)[1])
    np.testing.assert_allclose(np.asarray(fit.score)[kept], others.estimate["score"], atol=1e-10)
    for name in ("judge", "question"):
        found = getattr(fit.standard_error, name)
        np.testing.assert_allclose(found, others.standard_error[name], atol=1e-10)
    assert "grand" in fit.message


def test_stopping_early_is_reported(plan):
    fit = mfrm.fit(*plan, max_iterations=2, method="laplace")
    assert not fit.converged and fit.status == mfrm.Status.MAX_ITERATIONS
    assert fit.iterations == 2 and "max_iterations" in fit.message


def test_a_level_without_a_prior_or_a_maximum_is_reported(plan):
    """A judge who says yes to all, without a ridge, has no finite severity."""
    successes, trials = plan[0].copy(), plan[1]
    successes[:, :, 0] = trials[:, :, 0]
    fit = mfrm.fit(successes, trials, precision=mfrm.Precision(judge=0.0))
    assert not fit.converged
    assert fit.status in (mfrm.Status.MAX_ITERATIONS, mfrm.Status.SINGULAR)
    assert "extreme" in fit.message


def test_precision_of_the_result(plan):
    half = plan[0].astype(np.float16)
    for successes in (plan[0], half):
        assert mfrm.fit(successes, plan[1], method="laplace").theta.dtype == np.float64
        compiled = mfrm.fit(successes, plan[1], method="laplace", compiled=True)
        assert compiled.theta.dtype == np.float32
