"""Bootstrap over questions against refits of resampled ratings, one by one."""

import importlib

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from tests.mfrm.dense import dense_ridge

pytestmark = pytest.mark.wiring

# `mfrm.bootstrap` is the function of that name.
module = importlib.import_module("dignified_jax.mfrm.diagnostics.bootstrap")


@pytest.mark.parametrize("compiled", [False, True])
def test_equals_explicit_refits(plan, monkeypatch, compiled):
    """Each replicate a dense fit of the questions drawn; batches of 4 do not divide the 10."""
    monkeypatch.setattr(module, "RATINGS_AT_ONCE", 4 * plan[0].size)
    monkeypatch.setattr(module, "ON_HOST_AT_ONCE", 4)
    seen = []
    with jax.enable_x64(True):
        found = mfrm.bootstrap(
            *plan,
            replicates=10,
            seed=3,
            level=0.5,
            progress=lambda *done: seen.append(done),
            method="ridge",
            compiled=compiled,
        )
    draws = module.samples(8, 10, 3)
    ridge = (1.0,) * 4
    scores = np.array(
        [
            dense_ridge(plan[0][:, draw], plan[1][:, draw], "model", ridge).estimate["score"]
            for draw in draws
        ]
    )
    np.testing.assert_allclose(found.score, scores, atol=1e-8)
    np.testing.assert_allclose(found.standard_error, scores.std(axis=0, ddof=1), atol=1e-8)
    np.testing.assert_allclose(found.covariance, np.cov(scores.T), atol=1e-8)
    ordered = np.sort(scores, axis=0)  # ceil(10 * 0.25) = 3 and ceil(10 * 0.75) = 8
    np.testing.assert_allclose(found.lower, ordered[2], atol=1e-8)
    np.testing.assert_allclose(found.upper, ordered[7], atol=1e-8)
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert (found.failed, found.infinite, found.level) == (0, 0, 0.5)


@pytest.mark.slow
def test_anchored_questions_keep_their_anchors(plan):
    """With every question anchored there is an explicit fit to compare with."""
    anchors = {"question": np.linspace(-1, 1, 8)}
    with jax.enable_x64(True):
        found = mfrm.bootstrap(*plan, replicates=2, seed=1, anchors=anchors, method="ridge")
    for draw, score in zip(module.samples(8, 2, 1), found.score, strict=True):
        drawn = [array[:, draw] for array in plan]
        expected = dense_ridge(*drawn, "model", (1.0,) * 4, {"question": anchors["question"][draw]})
        np.testing.assert_allclose(score, expected.estimate["score"], atol=1e-8)


def test_a_fit_that_is_there_is_not_made_again(plan, monkeypatch):
    fit = mfrm.fit(*plan)
    options = {"replicates": 4, "seed": 1}
    found = mfrm.bootstrap(*plan, **options)
    monkeypatch.setattr(module, "fit", None)
    again = mfrm.bootstrap(*plan, original=fit, **options)
    np.testing.assert_array_equal(again.score, found.score)
    with pytest.raises(ValueError, match="the fit is of ratings of shape"):
        mfrm.bootstrap(*(array[:, :4] for array in plan), original=fit, **options)


def test_infinite_and_failed_replicates_are_told_apart():
    score = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, np.inf], [9.0, 9.0], [4.0, 2.0]])
    found = module._summary(score, np.array([True, True, True, False, True]), 0.5)
    assert (found.failed, found.infinite) == (1, 1)
    assert np.isnan(found.score[3]).all()
    # A model at infinity is left out of its own errors only.
    first, second = [0, 1, 2, 4], [1, 3, 2]
    expected = [np.std(first, ddof=1), np.std(second, ddof=1)]
    np.testing.assert_allclose(found.standard_error, expected)
    np.testing.assert_allclose(found.covariance[0, 1], np.cov([0, 1, 4], second)[0, 1])
    assert found.infinite_of.tolist() == [0, 1] and found.absent_of.tolist() == [0, 0]
    assert found.lower.tolist() == [0.0, 1.0] and found.upper.tolist() == [2.0, 3.0]


@pytest.mark.slow
def test_wider_than_errors_with_fixed_questions():
    """Questions that differ a lot for the models: their choice matters, 1,000 replicates at once.

    The bootstrap's errors estimate the spread of scores over fresh questions, here 60 samples of
    them: within 25%. A refit in a thousand may not converge, and is left out.
    """
    rng = np.random.default_rng(0)

    def ratings():
        quality = np.array([0.5, 0.0, -0.5, 0.2])[:, None] + rng.normal(scale=1.2, size=(4, 30))
        logit = quality[:, :, None, None] - np.array([0.3, 0.0, -0.3])[:, None] - np.zeros(3)
        return rng.binomial(1, 1 / (1 + np.exp(-logit)))

    once = ratings()
    fit = mfrm.fit(once, method="laplace")
    found = mfrm.bootstrap(once, replicates=1000, method="laplace")
    assert found.failed <= 1 and found.score.shape == (1000, 4)
    fresh = np.std([mfrm.fit(ratings(), method="laplace").score for _ in range(60)], axis=0)
    assert 0.75 < found.standard_error.mean() / fresh.mean() < 1.25
    assert (found.standard_error > fit.standard_error.score).all()
    assert (found.lower < fit.score).all() and (fit.score < found.upper).all()


def test_a_laplace_fit_that_does_not_converge_moves_no_scores(plan, monkeypatch):
    fit = mfrm.fit(*plan)
    in_batches, raw = module._in_batches, []

    def stopped(*arguments, **options):
        score, status, complete = in_batches(*arguments, **options)
        raw.append(score[1:])
        score = np.concatenate([score[:1] + 3.0, score[1:]])
        status = np.concatenate([[mfrm.Status.MAX_ITERATIONS], status[1:]])
        return score, status, complete

    monkeypatch.setattr(module, "_in_batches", stopped)
    found = mfrm.bootstrap(*plan, replicates=3, seed=1, original=fit)
    assert found.failed == 0
    np.testing.assert_array_equal(found.score, raw[0])


def test_samples_of_one_question_are_refused():
    with pytest.raises(ValueError, match="at least 2 questions: samples of one are all alike"):
        mfrm.bootstrap(np.eye(3)[:, None, :, None], replicates=4, method="ridge")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicates": 1}, "replicates must be at least 2"),
        ({"level": 1.0}, "level must be between 0 and 1"),
        ({"center": "mean"}, "center"),
    ],
)
def test_refusals(plan, options, message):
    with pytest.raises(ValueError, match=message):
        mfrm.bootstrap(*plan, **options)
