"""Marginal likelihood against one made of dense determinants and maximised by SciPy."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense import dense_laplace, maps, simulate

pytestmark = pytest.mark.wiring


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


def test_standard_errors_from_the_dense_information():
    """Of every effect by its definition, questions random but centred: one explicit inverse."""
    successes, trials = simulate(SHAPE, 7, missing=0.2, most_trials=6)
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="laplace", tolerance=1e-11)
        mode = modes(successes, trials, fit)
    rows, intercept, quality, design = maps(SHAPE, "model")
    p = 1 / (1 + np.exp(-design @ mode))
    weight = trials.ravel() * p * (1 - p)
    precision = float(fit.precision.theta) * rows["theta"].sum(axis=0)
    precision = precision + float(fit.precision.question) * rows["question"].sum(axis=0)
    sums = np.array([rows[facet].sum(axis=0) for facet in ("judge", "rubric")])
    hessian = design.T @ (weight[:, None] * design) + np.diag(precision)
    kkt = np.block([[hessian, sums.T], [sums, np.zeros((2, 2))]])
    covariance = np.linalg.inv(kkt)[: len(hessian), : len(hessian)]
    mean = rows["question"].mean(axis=0)
    outputs = {
        "theta": rows["theta"].reshape(*SHAPE[:2], -1),
        "quality": quality - mean,
        "judge": rows["judge"],
        "rubric": rows["rubric"],
        "question": rows["question"] - mean,
        "intercept": intercept,
        "score": quality.mean(axis=1) - mean,
    }
    for name, effect in outputs.items():
        expected = np.sqrt(((effect @ covariance) * effect).sum(axis=-1))
        found = getattr(fit.standard_error, name)
        np.testing.assert_allclose(found, expected, atol=1e-8, err_msg=name)
    score = outputs["score"]
    np.testing.assert_allclose(fit.score_covariance, score @ covariance @ score.T, atol=1e-8)
    np.testing.assert_allclose(fit.score, np.asarray(fit.quality).mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(np.asarray(fit.question).sum(), 0, atol=1e-12)


def modes(successes, trials, fit):
    """All effects, the random ones at their mode given the fit's fixed effects and precisions."""
    rows, _, _, design = maps(SHAPE, "model")
    fixed = sum(np.asarray(getattr(fit, f)) @ rows[f] for f in ("intercept", "judge", "rubric"))
    random = np.concatenate([rows["theta"], rows["question"]])
    sizes = [len(rows["theta"]), len(rows["question"])]
    precision = np.repeat([float(fit.precision.theta), float(fit.precision.question)], sizes)
    y, n = successes.ravel(), trials.ravel()
    effects = np.zeros(len(random))
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ (fixed + effects @ random)))
        part = design @ random.T
        hessian = part.T @ ((n * p * (1 - p))[:, None] * part) + np.diag(precision)
        effects = effects + np.linalg.solve(hessian, part.T @ (y - n * p) - precision * effects)
    return fixed + effects @ random


def test_posterior_means_by_integration():
    """Far nearer than modes to the means that a fine grid gives, one theta at a time."""
    successes, trials = simulate(SHAPE, 7, most_trials=1, spread=2.0)
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="laplace")
        anchors = {"question": fit.question, "judge": fit.judge, "rubric": fit.rubric}
        given = mfrm.fit(successes, trials, method="laplace", anchors=anchors)
    theta = np.linspace(-12, 12, 4001)[:, None, None, None, None]
    severity = np.asarray(given.judge)[:, None] + np.asarray(given.rubric)
    base = np.asarray(given.intercept)[:, None, None, None] - severity
    x = theta + base - np.asarray(given.question)[:, None, None]
    density = (successes * x - trials * np.logaddexp(0, x)).sum(axis=(3, 4))
    density = density - 0.5 * float(given.precision.theta) * theta[..., 0, 0] ** 2
    highest = theta.ravel()[density.argmax(axis=0)]
    density = np.exp(density - density.max(axis=0))
    mean = (density * theta[..., 0, 0]).sum(axis=0) / density.sum(axis=0)
    mode_error = np.abs(highest - mean)
    error = np.abs(np.asarray(given.theta) - mean)
    assert mode_error.max() > 0.05
    assert error.max() < 0.15 * mode_error.max() and error.mean() < 0.1 * mode_error.mean()


def test_default_is_quadrature_unless_precisions_are_given(plan):
    assert mfrm.fit(*plan).method == "quadrature"
    assert mfrm.fit(*plan, precision=mfrm.Precision(2.0)).precision.theta == 2
