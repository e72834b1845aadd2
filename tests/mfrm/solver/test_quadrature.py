"""Quadrature against brute force: likelihood, optimum, observed information, standard errors."""

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.solver import quadrature
from tests.mfrm.brute_force import Marginal, gradient
from tests.mfrm.conftest import SHAPE, assert_fits_agree
from tests.mfrm.dense import simulate

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def fitted():
    """(fit, brute force, its parameters, their covariance), of few and steep ratings a cell."""
    successes, trials = simulate(SHAPE, 7, missing=0.2, most_trials=2)
    fit = mfrm.fit(successes.astype(np.float32), trials.astype(np.float32))
    assert fit.method == "quadrature" and fit.converged
    brute = Marginal(successes, trials)
    x = brute.pack(fit)
    hessian = gradient(lambda x: gradient(brute.log_likelihood, x), x)
    return fit, brute, x, np.linalg.inv(-hessian)


def test_optimum_and_likelihood(fitted):
    fit, brute, x, covariance = fitted
    np.testing.assert_allclose(fit.log_likelihood, brute.log_likelihood(x), atol=5e-4)
    # How far the optimum is: a Newton step with differences of the likelihood.
    step = covariance @ gradient(brute.log_likelihood, x)
    np.testing.assert_allclose(step, 0, atol=1e-3)
    estimates = brute.reported(x)
    for name, expected in estimates.items():
        np.testing.assert_allclose(getattr(fit, name), expected, atol=2e-4, err_msg=name)


def test_standard_errors(fitted):
    """The inverse of the observed information, the two log precisions included."""
    fit, brute, x, covariance = fitted
    known = np.linalg.inv(np.linalg.inv(covariance)[:-2, :-2])
    conditional = brute.conditional_variance(x)
    for name, within in conditional.items():
        slope = gradient(lambda x, name=name: brute.reported(x)[name].ravel(), x)
        variance = within + slope @ covariance @ slope.T
        found = np.asarray(getattr(fit.standard_error, name))
        expected = np.sqrt(np.diag(variance)).reshape(found.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-3, err_msg=name)
        if name == "score":
            np.testing.assert_allclose(fit.score_covariance, variance, atol=1e-4)
        if name in ("quality", "score"):  # what counts them as known is smaller
            less = within + slope[:, :-2] @ known @ slope[:, :-2].T
            assert np.sqrt(np.diag(less)).sum() < 0.995 * expected.sum()


@pytest.mark.parametrize("seed", [3, 28])
def test_variance_that_falls_to_its_bound_at_once(seed):
    """Both go to 0 from where Laplace's left them: the rest is a logistic regression."""
    rng = np.random.default_rng(seed)
    place = np.linspace(-1, 1, 3)[:, None, None, None] + np.array([-0.5, 0.5])[:, None]
    logit = place + np.zeros(2) + 0.3 * rng.normal(size=(6, 1, 1))
    successes = (rng.uniform(size=(3, 6, 2, 2)) < 1 / (1 + np.exp(-logit))).astype(int)
    fit = mfrm.fit(successes)
    assert fit.status == mfrm.Status.VARIANCE_AT_BOUND and fit.iterations < 10
    logit = fit.intercept[:, None, None] - fit.judge[:, None] - fit.rubric
    chance = 1 / (1 + np.exp(-logit))
    observed = successes.mean(axis=1)
    for axes in ((0, 1), (0, 2), (1, 2)):  # what maximises it
        np.testing.assert_allclose(chance.sum(axis=axes), observed.sum(axis=axes), atol=1e-5)
    terms = observed * np.log(chance) + (1 - observed) * np.log1p(-chance)
    np.testing.assert_allclose(fit.log_likelihood, 6 * terms.sum(), atol=1e-5)


def test_variance_at_its_bound():
    """Answers that are the same on all questions leave no spread: the limit is Laplace's."""
    pattern = np.array([[[1, 0], [1, 1], [0, 1]], [[0, 0], [1, 0], [0, 1]]] * 2)
    successes = np.repeat(pattern[:, None], 8, axis=1).astype(np.float32)
    fits = [mfrm.fit(successes, np.ones_like(successes), method=m) for m in (None, "laplace")]
    assert [fit.status for fit in fits] == [mfrm.Status.VARIANCE_AT_BOUND] * 2
    assert fits[0].iterations < 20
    assert_fits_agree(*fits, atol=2e-4, errors=5e-3)


def test_inner_rule_integrates_polynomials():
    """Of standard normal z and v with a correlation a: E[z^j | v] at every point v, j < K."""
    correlation, points = 0.6, 5
    nodes, weights = quadrature.rule(points)
    outer = quadrature.rule(3)[0]
    powers = correlation ** np.arange(points)
    inner = np.einsum("nkl,n->kl", quadrature.blend(points, 3), powers)
    fine, mass = quadrature.rule(40)
    for degree in range(points):
        z = correlation * outer[:, None] + np.sqrt(1 - correlation**2) * fine
        np.testing.assert_allclose(nodes**degree @ inner, z**degree @ mass, atol=1e-12)
    np.testing.assert_allclose(weights.sum(), 1)


@pytest.mark.slow
def test_a_variance_at_its_bound_in_float32():
    """Precision times theta, where the last step of Laplace's leaves a theta of 1e-7."""
    shape = models, questions, judges, items = 5, 220, 2, 3
    keys = jax.random.split(jax.random.split(jax.random.key(0), 2000)[1492], 7)

    def effect(key, *size):
        return np.float32(0.5) * jax.random.normal(key, size)

    quality = effect(keys[0], models, 1) + effect(keys[1], models, questions)
    sizes = (judges, items, questions)
    effects = (effect(key, size) for key, size in zip(keys[2:5], sizes, strict=True))
    judge, item, question = (values - values.mean() for values in effects)
    logit = (quality - question)[:, :, None, None] - judge[:, None] - item
    trials = np.asarray(jax.random.uniform(keys[5], shape) >= 0.4, np.float32)
    successes = trials * (jax.random.uniform(keys[6], shape) < jax.nn.sigmoid(logit))
    single, double = (mfrm.fit(successes, trials, compiled=c) for c in (True, False))
    assert single.status == double.status == mfrm.Status.VARIANCE_AT_BOUND
    # Not theta and what it is part of: of a few cells rounding exceeds what is left of it, 1e-4.
    for name in ("score", "judge", "rubric"):
        np.testing.assert_allclose(getattr(single, name), getattr(double, name), atol=1e-5)
        found, expected = (getattr(fit.standard_error, name) for fit in (single, double))
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)


def a_models_cells(questions):
    """(cells, weights, their thetas) of 7 points, 5 of the questions', and 6 raters."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(size=(7, 5, questions))
    weight /= weight.sum(axis=0)
    offset, spread = rng.normal(size=(5, questions)), rng.uniform(0.5, 1.0, questions)
    residual, nodes = rng.normal(size=(6, 7, questions)), quadrature.rule(7)[0]
    powers = np.einsum("jk,klq->jlq", nodes ** np.arange(1, 5)[:, None], weight)
    cells = quadrature.Effects(weight, residual, offset, spread, powers, np.float64(0.7))
    return cells, weight, offset + spread * nodes[:, None, None]


def test_sums_over_points_at_many_questions():
    """A reduction that XLA gets wrong on CPUs from about 1,500 questions on."""
    cells, weight, _ = a_models_cells(1504)
    single = jax.tree.map(lambda leaf: leaf.astype(np.float32), cells)
    found = jax.jit(quadrature.means_given_question)(single)
    expected = np.einsum("klq,rkq->rlq", weight, cells.residual)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_moments_from_powers():
    """Of theta and of the derivative by log p, against sums over the points themselves."""
    cells, weight, theta = a_models_cells(3)
    mean = (weight * theta).sum(axis=0)
    slope = 0.5 - 0.5 * 0.7 * theta**2
    slope_mean, mean_square, covariance = cells.slope_moments()
    for found, expected in [
        (cells.mean(), mean),
        (cells.variance(), (weight * (theta - mean) ** 2).sum(axis=0)),
        (slope_mean, (weight * slope).sum(axis=0)),
        (mean_square, (weight * slope**2).sum(axis=0)),
        (covariance, (weight * (theta - mean) * slope).sum(axis=0)),
    ]:
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rating_scale", "partial_credit"])
def test_two_categories_are_the_binary_model(fitted, model):
    """An ordinal fit of 0 and 1: the same but for the steps, which are the items' own or none."""
    successes, trials = (np.asarray(a) for a in simulate(SHAPE, 7, missing=0.2, most_trials=2))
    counts = np.stack([trials - successes, successes], axis=-1).astype(np.float32)
    fit = mfrm.fit(counts, model=model)
    assert_fits_agree(fit, fitted[0], atol=2e-4, errors=1e-3)


@pytest.mark.slow
def test_questions_of_one_model_each():
    """Their variance and that of answers can't be told apart; the rest is Laplace's, nearly."""
    successes, trials = simulate(SHAPE, 3, most_trials=6)
    nested = np.arange(8) % 4 == np.arange(4)[:, None]
    trials = (trials * nested[:, :, None, None]).astype(np.float32)
    successes = (successes * nested[:, :, None, None]).astype(np.float32)
    fits = [mfrm.fit(successes, trials, method=m) for m in (None, "laplace")]
    assert [fit.status for fit in fits] == [mfrm.Status.CONFOUNDED_VARIANCES] * 2
    np.testing.assert_allclose(fits[0].judge, fits[1].judge, atol=0.02)
    np.testing.assert_allclose(fits[0].score, fits[1].score, atol=0.05)
