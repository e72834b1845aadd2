"""Ordinal models against a dense Newton method that has a row for every category."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE, assert_fits_agree
from tests.mfrm.dense_ordinal import dense_ordinal, laplace_log_likelihood, simulate
from tests.mfrm.test_fit import as_fit

pytestmark = pytest.mark.wiring

RIDGE = (0.3, 2.0, 0.5, 4.0)


@pytest.fixture(scope="module")
def counts():
    """Missing ratings, repeats, four categories all of which every item has."""
    return simulate(SHAPE, 4, 0, missing=0.4, most=3)


@pytest.mark.parametrize(
    ("model", "center"),
    [
        ("rating_scale", "model"),
        ("partial_credit", "model"),
        pytest.param("partial_credit", "zero", marks=pytest.mark.slow),
    ],
)
def test_equals_dense_kkt_newton(counts, model, center):
    reference = dense_ordinal(counts, model, center, RIDGE)
    with jax.enable_x64(True):
        fit = mfrm.fit(
            counts, model=model, center=center, method="ridge", precision=mfrm.Precision(*RIDGE)
        )
    assert fit.converged
    assert_fits_agree(fit, as_fit(reference), atol=1e-9, errors=1e-7)
    np.testing.assert_allclose(fit.step, reference.estimate["step"], atol=1e-9)
    np.testing.assert_allclose(fit.standard_error.step, reference.standard_error["step"], atol=1e-9)
    np.testing.assert_allclose(fit.log_likelihood, reference.log_likelihood, rtol=1e-12)
    assert fit.step.shape == ((2, 3) if model == "partial_credit" else (1, 3))


def test_steep_effects_equal_dense():
    """Cells in the highest or lowest category only."""
    model = "partial_credit"
    counts = simulate(SHAPE, 4, 1, missing=0.2, spread=2.0)
    reference = dense_ordinal(counts, model, "model", RIDGE)
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model=model, method="ridge", precision=mfrm.Precision(*RIDGE))
    assert (fit.extreme.cell == 1).any() and (fit.extreme.cell == -1).any()
    assert_fits_agree(fit, as_fit(reference), atol=1e-9, errors=1e-7)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("rating_scale", "ridge"),
        pytest.param("partial_credit", "laplace", marks=pytest.mark.slow),
    ],
)
def test_two_categories_equal_binary(plan, model, method):
    successes, trials = plan
    with jax.enable_x64(True):
        binary = mfrm.fit(successes, trials, method=method)
        two = mfrm.fit(
            np.stack([trials - successes, successes], axis=-1), model=model, method=method
        )
    assert_fits_agree(two, binary, atol=1e-8)
    # Iterations end at a step of 1e-9.
    np.testing.assert_allclose(two.log_likelihood, binary.log_likelihood, rtol=1e-10)
    np.testing.assert_array_equal(two.step, 0)
    np.testing.assert_array_equal(two.standard_error.step, 0)


@pytest.mark.parametrize(
    "model", ["partial_credit", pytest.param("rating_scale", marks=pytest.mark.slow)]
)
def test_laplace_is_the_maximum_of_the_dense_one(counts, model):
    """Its value, and no gain from moving any fixed effect, step or variance."""
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model=model, method="laplace")
    assert fit.converged
    here = laplace_log_likelihood(counts, model, fit)
    np.testing.assert_allclose(fit.log_likelihood, here, rtol=1e-12)

    def moved(amount):
        change = np.zeros(3)
        change[:2] = amount, -amount
        yield dataclasses.replace(fit, intercept=fit.intercept + amount * np.eye(4)[0])
        yield dataclasses.replace(fit, judge=fit.judge + change)
        yield dataclasses.replace(fit, rubric=fit.rubric + change[:2])
        yield dataclasses.replace(fit, step=fit.step + change)
        for name in ("theta", "question"):
            value = getattr(fit.precision, name) * np.exp(amount)
            precision = dataclasses.replace(fit.precision, **{name: value})
            yield dataclasses.replace(fit, precision=precision)

    for up, down in zip(moved(1e-4), moved(-1e-4), strict=True):
        values = [laplace_log_likelihood(counts, model, other) for other in (up, down)]
        assert max(values) < here
        assert abs(values[0] - values[1]) / 2e-4 < 2e-5


@pytest.mark.slow
def test_float32(counts):
    model = "partial_credit"
    single = mfrm.fit(counts, model=model, method="ridge", compiled=True)
    with jax.enable_x64(True):
        double = mfrm.fit(counts, model=model, method="ridge")
    assert single.converged and single.theta.dtype == np.float32
    assert_fits_agree(single, double, atol=2e-5)
    np.testing.assert_allclose(single.step, double.step, atol=2e-5)


def test_jit_and_vmap_equal_a_loop(counts):
    plans = np.stack([counts, simulate(SHAPE, 4, 5, missing=0.2, most=2)]).astype(np.float32)

    def fit(one):
        return mfrm.fit(one, model="partial_credit", method="ridge")

    mapped = jax.jit(jax.vmap(fit))(plans)
    for index, one in enumerate(map(fit, plans)):
        assert_fits_agree(jax.tree.map(lambda leaf, i=index: leaf[i], mapped), one, atol=2e-5)
        np.testing.assert_allclose(mapped.step[index], one.step, atol=2e-5)


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_categories_never_given_are_closed_up(counts, gone):
    """The same as without the category, on one item of partial credit and on a rating scale."""
    counts = counts.copy()
    counts[..., gone] = 0
    kept = [k for k in range(counts.shape[-1]) if k != gone]
    with jax.enable_x64(True):
        full, closed = (
            mfrm.fit(c, model="rating_scale", method="ridge") for c in (counts, counts[..., kept])
        )
    assert full.converged
    assert_fits_agree(full, closed, atol=1e-9)
    steps = np.delete(np.asarray(full.step), max(gone - 1, 0), axis=1)
    np.testing.assert_allclose(steps, closed.step, atol=1e-9)
    missing = np.asarray(full.step)[0, max(gone - 1, 0)]
    assert np.isneginf(missing) if gone == 0 else np.isnan(missing)


def test_an_item_without_a_category(counts):
    """Partial credit with items of 4 and 3 categories, against the dense maximum of both."""
    counts = counts.copy()
    counts[:, :, :, 1, 2] = 0
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model="partial_credit", method="ridge")
    assert fit.converged
    steps = np.asarray(fit.step)
    assert np.isfinite(steps[0]).all() and np.isnan(steps[1, 1])
    np.testing.assert_allclose([steps[0].sum(), np.nansum(steps[1])], 0, atol=1e-9)
    # At the maximum, numbers of ratings at or above each step are as expected.
    logit = np.asarray(fit.quality - fit.question)[:, :, None] - np.asarray(fit.judge)
    logit = logit - float(fit.rubric[1])
    passed = np.array([0.0, steps[1, 0], steps[1, 0] + steps[1, 2]])
    weight = np.exp(logit[..., None] * np.arange(3) - passed)
    chance = weight / weight.sum(axis=-1, keepdims=True)
    given = counts[:, :, :, 1][..., [0, 1, 3]]
    expected = (given.sum(axis=-1, keepdims=True) * chance).sum(axis=(0, 1, 2))
    observed = given.sum(axis=(0, 1, 2))
    # Steps of a set sum to zero: both residuals pull alike, with what the item's prior pulls.
    residual = [observed[1:].sum() - expected[1:].sum(), observed[2] - expected[2]]
    np.testing.assert_allclose(residual[0], residual[1], atol=1e-6)
    assert abs(residual[0]) < 1.0


def test_one_category_only_is_refused(counts):
    counts = np.stack([0 * counts[..., 0]] * 3 + [counts.sum(axis=-1)], axis=-1)
    with pytest.raises(ValueError, match="one category, 3 counted from 0"):
        mfrm.fit(counts, model="rating_scale")
    fit = jax.jit(lambda c: mfrm.fit(c, model="rating_scale", center="zero", method="ridge"))(
        counts.astype(np.float32)
    )
    assert fit.status == mfrm.Status.UNOBSERVED_CATEGORY and not fit.converged
    assert jnp.isnan(fit.score).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (-1, r"successes is negative at \[model 1, question 2, judge 0, rubric 1, category 3\]"),
        (0.5, "successes is fractional"),
        (np.nan, "successes is not finite"),
    ],
)
def test_bad_counts(counts, change, message):
    bad = counts.astype(float)
    bad[1, 2, 0, 1, 3] = change
    with pytest.raises(ValueError, match=message):
        mfrm.fit(bad, model="rating_scale")
    traced = jax.jit(lambda c: mfrm.fit(c, model="rating_scale"))(np.float32(bad))
    assert traced.status == mfrm.Status.BAD_COUNTS and jnp.isnan(traced.score).all()


def test_bad_arguments(counts, plan):
    with pytest.raises(ValueError, match=r"5 axes.*category.*'rating_scale'"):
        mfrm.fit(plan[0], model="rating_scale")
    with pytest.raises(ValueError, match="trials can't be given"):
        mfrm.fit(counts, counts, model="partial_credit")
    with pytest.raises(ValueError, match="one category only"):
        mfrm.fit(counts[..., :1], model="partial_credit")
    with pytest.raises(ValueError, match="model must be one of binomial, rating_scale"):
        mfrm.fit(counts, model="graded")


def test_a_model_in_the_highest_category_only(counts):
    """Its score is infinite; the others are fitted as if it were not there."""
    changed = counts.copy()
    changed[2, ..., 3] = changed[2].sum(axis=-1)
    changed[2, ..., :3] = 0
    changed[0, 0, 0, 0, 3] += 1  # some other model in it, or its step is infinite
    kept = [0, 1, 3]
    reference = dense_ordinal(changed[kept], "rating_scale", "model", (1.0,) * 4)
    with jax.enable_x64(True):
        fit = mfrm.fit(changed, model="rating_scale", method="ridge")
    assert fit.status == mfrm.Status.EXTREME_MODEL and fit.score[2] == np.inf
    np.testing.assert_allclose(np.asarray(fit.score)[kept], reference.estimate["score"], atol=1e-9)
    np.testing.assert_allclose(fit.step, reference.estimate["step"], atol=1e-9)
