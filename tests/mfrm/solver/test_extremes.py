"""Extreme judges and models are taken out in turn; the rest is as it is without them."""

import jax
import numpy as np
import pytest
import scipy.optimize

from dignified_jax import mfrm
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.solver.blocks import as_blocks, totals
from dignified_jax.mfrm.solver.estimate import estimate

pytestmark = pytest.mark.wiring

SHAPE = (4, 10, 3, 2)


@pytest.fixture(scope="module")
def ratings():
    """Judge 0 says yes to all but to model 3, which all fail: neither shows before the other."""
    rng = np.random.default_rng(0)
    successes = rng.integers(0, 2, SHAPE)
    successes[:, :, 0] = 1
    successes[3] = 0
    return successes


@pytest.fixture(scope="module")
def fitted(ratings):
    with jax.enable_x64(True):
        fit = mfrm.fit(ratings, method="laplace")
        return fit, mfrm.diagnose(fit, ratings)


def test_the_rest_is_as_without_them(ratings, fitted):
    fit, _ = fitted
    with jax.enable_x64(True):
        rest = mfrm.fit(ratings[:3, :, 1:], method="laplace")
    assert fit.converged and fit.status == mfrm.Status.EXTREME_MODEL
    np.testing.assert_allclose(fit.score[:3], rest.score, atol=1e-8)
    np.testing.assert_allclose(fit.judge[1:], rest.judge, atol=1e-8)
    np.testing.assert_allclose(fit.standard_error.judge[1:], rest.standard_error.judge, atol=1e-8)
    assert np.isneginf(fit.judge[0]) and np.isneginf(fit.score[3])
    assert fit.extreme.judge.tolist() == [1, 0, 0]
    assert "model 3 (all failures), judge 0 (all successes)" in fit.message


def test_adjusted_measures_by_root_finding(ratings, fitted):
    fit, about = fitted
    known = np.asarray(fit.quality)[:3] - np.asarray(fit.question)
    base = known[:, :, None] - np.asarray(fit.rubric)

    def missing(severity):
        return (1 / (1 + np.exp(severity - base))).sum() - (base.size - 0.3)

    severity = scipy.optimize.brentq(missing, -30, 10, xtol=1e-12)
    np.testing.assert_allclose(about.judge.measure[0], severity, atol=1e-8)
    chance = 1 / (1 + np.exp(severity - base))
    error = (chance * (1 - chance)).sum() ** -0.5
    np.testing.assert_allclose(about.judge.standard_error[0], error, rtol=1e-6)
    assert np.isfinite(about.model.measure[3]) and about.model.measure[3] < -3
    np.testing.assert_array_equal(about.judge.measure[1:], fit.judge[1:])


def test_tables_mark_them(ratings, fitted):
    labels = {
        facet: [f"{facet}{level}" for level in range(size)]
        for facet, size in zip(("model", "question", "judge", "rubric"), SHAPE, strict=True)
    }
    table = mfrm.tables.measure_table(*fitted, labels, "judge")
    assert table.columns["extreme"] == ["all successes, adjusted", "", ""]
    assert "adjusted: the estimate is infinite" in table.text()
    assert "judge judge0 (all successes)" in fitted[0].describe(labels)


def test_a_judge_alone_is_extreme():
    successes = np.random.default_rng(1).integers(0, 2, SHAPE)
    successes[:, :, 1] = 0
    fit = mfrm.fit(successes, method="laplace")
    assert fit.status == mfrm.Status.EXTREME_LEVEL and fit.converged
    assert np.isposinf(fit.judge[1]) and "judge 1 (all failures)" in fit.message
    np.testing.assert_allclose(np.delete(fit.judge, 1).sum(), 0, atol=1e-5)


def test_a_category_that_only_a_perfect_model_has(tmp_path):
    """It is closed up for the others, and the model is infinite: nothing is refused."""
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 3, SHAPE)
    scores[1] = 3
    counts = np.eye(4, dtype=int)[scores]
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model="rating_scale", method="ridge")
        rest = mfrm.fit(np.delete(counts, 1, axis=0)[..., :3], model="rating_scale", method="ridge")
        about = mfrm.diagnose(fit, counts, categories=(1, 2, 3, 4))
    assert np.isposinf(fit.score[1]) and fit.status == mfrm.Status.EXTREME_MODEL
    np.testing.assert_allclose(np.delete(fit.score, 1), rest.score, atol=1e-8)
    np.testing.assert_allclose(fit.step[0, :2], rest.step[0], atol=1e-8)
    assert np.isnan(fit.step[0, 2])
    statistics = about.judge.statistics
    np.testing.assert_allclose(
        statistics.score / statistics.count, (scores + 1).mean(axis=(0, 1, 3)), rtol=1e-9
    )


def test_questions_of_one_model_each_are_fitted_and_told():
    """Nested questions: random, so that they join nothing and need not be joined."""
    trials = np.zeros((3, 12, 3, 2), int)
    for question in range(12):
        trials[question % 3, question] = 1
    successes = np.random.default_rng(3).integers(0, 2, trials.shape) * trials
    fit = mfrm.fit(successes, trials, method="laplace")
    assert fit.converged and fit.status == mfrm.Status.CONFOUNDED_VARIANCES
    assert "can't be told apart" in fit.message
    with pytest.raises(mfrm.DisconnectedError):
        mfrm.fit(successes, trials, method="ridge")


def test_too_much_for_memory_is_a_line(monkeypatch):
    """The dense array is small; what a fit makes of it is not."""
    many = np.zeros((200_000, 1, 1, 1), np.int8)
    many[::2] = 1
    monkeypatch.setattr("dignified_jax.mfrm.solver.memory.machine_bytes", lambda: 2**36)
    with pytest.raises(ValueError, match=r"TiB of memory needed, 64\.0 GiB there") as error:
        mfrm.fit(many)
    assert "200,000 (model)" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match="TiB of memory needed"):
        mfrm.fit(np.moveaxis(many, 0, 2))
    table = {name: np.arange(300_000) for name in ("model", "question")}
    table |= {"judge": np.zeros(300_000, int), "rubric": np.zeros(300_000, int)}
    listed = mfrm.from_long(table | {"score": np.arange(300_000) % 2}, sparse=True)
    with pytest.raises(ValueError, match=r"TiB of memory needed.*covariance"):
        mfrm.fit_sparse(listed)


def lenient_and_strict(models=3):
    """Two judges, one of only 1s and one of only 0s: nothing is left that tells of the models."""
    successes = np.zeros((models, 4, 2, 1), int)
    successes[:, :, 0] = 1
    return successes


@pytest.mark.parametrize("method", ["laplace", "quadrature"])
@pytest.mark.parametrize("model", ["binomial", "rating_scale", "partial_credit"])
@pytest.mark.parametrize("center", ["model", "grand", "zero"])
def test_without_a_judge_that_tells_nothing_converges(method, model, center):
    successes = lenient_and_strict()
    if model != "binomial":
        successes = np.stack([1 - successes, 0 * successes, successes], axis=-1)
    fit = mfrm.fit(successes, method=method, model=model, center=center)
    assert np.isnan(fit.score).all()
    assert not fit.converged and fit.status == mfrm.Status.UNDETERMINED_MODEL
    kind = "successes or only failures" if model == "binomial" else "highest or only lowest scores"
    assert fit.message.startswith("nothing is left to say of a model's score")
    assert f"only {kind}, which tell nothing of it" in fit.message
    assert fit.message.endswith("Without a score: model 0, model 1, model 2.")
    ridge = mfrm.fit(successes, method="ridge", model=model, center=center)
    assert ridge.converged and np.isfinite(ridge.score).all()


def test_a_model_that_nobody_tells_of_is_named_and_the_others_are_as_without_it():
    """Judges 0 (only 1s) and 1 (only 0s) alone rated model 0."""
    successes = np.random.default_rng(0).integers(0, 2, (3, 6, 4, 1))
    successes[:, :, :2] = lenient_and_strict()[:1, :1]
    trials = np.ones_like(successes)
    trials[0, :, 2:] = successes[0, :, 2:] = 0
    fit = mfrm.fit(successes, trials, method="laplace")
    rest = mfrm.fit(successes[1:, :, 2:], method="laplace")
    assert fit.status == mfrm.Status.UNDETERMINED_MODEL and not fit.converged
    assert np.isnan(fit.score[0])
    np.testing.assert_allclose(fit.score[1:], rest.score, atol=1e-7)
    labels = {"model": "abc", "question": range(6), "judge": "vwxy", "rubric": (None,)}
    assert "judge v (all successes), judge w (all failures)" in fit.describe(labels)
    assert fit.describe(labels).endswith(". Without a score: model a.")


def test_refits_keep_the_models_that_are_told_of():
    """Without judge 2 only extreme judges rated model 0: the other models' scores are known."""
    successes = np.random.default_rng(0).integers(0, 2, (3, 6, 5, 1))
    successes[:, :, :2] = lenient_and_strict()[:1, :1]
    trials = np.ones_like(successes)
    trials[0, :, 3:] = successes[0, :, 3:] = 0
    fit = mfrm.fit(successes, trials, method="laplace")
    assert fit.converged
    left = mfrm.leave_one_judge_out(fit, successes, trials)
    np.testing.assert_array_equal(np.isnan(left.score_without[2]), [True, False, False])
    assert left.message[2].startswith("nothing is left to say")


def test_a_level_without_a_name_is_called_all():
    fit = mfrm.fit(np.ones((2, 3, 1, 1), int), method="laplace")
    labels = {"model": "ab", "question": range(3), "judge": (None,), "rubric": (None,)}
    assert "judge (all) (all successes)" in fit.describe(labels)
    assert "None" not in fit.describe(labels)


@pytest.mark.parametrize("ordinal", [False, True])
def test_few_failures_among_more_than_single_precision_counts(ordinal):
    """2^26 judgments of judge 0, 2 of them failures: float32 has no numbers between."""
    trials = np.full((2, 8, 2, 1), 2.0**22, np.float32)
    failures = np.zeros_like(trials)
    failures[0, 3, 0] = failures[1, 5, 0] = 1
    failures[:, :, 1] = 2.0**20
    counts = (trials - failures, trials)
    if ordinal:
        counts = (np.stack([failures, trials - failures], axis=-1),)
    with xp.on_host(True):
        codes = estimate(
            counts,
            mfrm.Precision(),
            {},
            np.float32(1e-3),
            np.int32(1),
            model="rating_scale" if ordinal else "binomial",
            center="model",
            method="laplace",
        ).extreme
    assert codes.judge.tolist() == [0, 0] and codes.model.tolist() == [0, 0]
    failures[1, 5, 0] = 0
    with xp.on_host(True):
        sums = totals(as_blocks(trials - failures, trials))
    assert sums.missed[1, 0].tolist() == [0.0] * 8 and sums.missed[0, 0].sum() == 1
