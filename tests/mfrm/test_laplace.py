"""Marginal likelihood against one made of dense determinants and maximised by SciPy."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense import dense_laplace, simulate


def test_equals_dense_laplace():
    successes, trials = simulate(SHAPE, 7, missing=0.2, most_trials=6)
    value, intercept, judge, rubric, theta_sd, question_sd = dense_laplace(successes, trials)
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="laplace")
    assert fit.converged and theta_sd > 0.3 and question_sd > 0.3
    np.testing.assert_allclose(fit.log_likelihood, value, atol=1e-7)
    for found, expected in [
        (fit.intercept, intercept),
        (fit.judge, judge),
        (fit.rubric, rubric),
        (float(fit.precision.theta) ** -0.5, theta_sd),
        (float(fit.precision.question) ** -0.5, question_sd),
    ]:
        np.testing.assert_allclose(found, expected, atol=2e-5)
    single = mfrm.fit(successes, trials, method="laplace")
    np.testing.assert_allclose(single.quality, fit.quality, atol=1e-4)
    np.testing.assert_allclose(single.log_likelihood, fit.log_likelihood, rtol=1e-5)
    assert single.precision.judge == 0


@pytest.mark.parametrize("changes", [True, False])
def test_variance_at_its_bound(changes):
    """Answers that are the same on all questions leave no spread between questions."""
    pattern = np.array([[[1, 0], [1, 1], [0, 1]], [[0, 0], [1, 0], [0, 1]]] * 2)
    successes = np.repeat(pattern[:, None], 8, axis=1)
    trials = np.ones_like(successes)
    if changes:
        rng = np.random.default_rng(0)
        trials = np.full_like(successes, 6)
        successes = rng.binomial(
            6, 1 / (1 + np.exp(-rng.normal(size=(4, 8, 1, 1)) * 2)) * np.ones(SHAPE)
        )
    fit = mfrm.fit(successes, trials, method="laplace")
    assert fit.converged
    if not changes:
        assert fit.status == mfrm.Status.VARIANCE_AT_BOUND
        np.testing.assert_allclose(fit.theta, 0, atol=1e-5)
        assert "spread" in fit.message
    else:
        assert fit.precision.theta < 2
