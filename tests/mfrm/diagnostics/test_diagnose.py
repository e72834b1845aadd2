"""Diagnostics of fits: what they put together, displacement, fair averages, odd fits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.diagnose import displacements
from dignified_jax.mfrm.diagnostics.expected_scores import binomial
from tests.mfrm.conftest import SHAPE
from tests.mfrm.diagnostics.test_fit_statistics import assert_written_out, written_out

pytestmark = pytest.mark.wiring

FACETS = ("model", "question", "judge", "rubric")


@pytest.fixture(scope="module")
def fitted(plan):
    with jax.enable_x64(True):
        fit = mfrm.fit(*plan, method="ridge")
        return fit, mfrm.diagnose(fit, *plan)


def logits_of(fit):
    parts = [np.asarray(part, float) for part in (fit.quality, fit.question, fit.judge, fit.rubric)]
    quality, question, judge, rubric = parts
    return (quality - question)[:, :, None, None] - judge[:, None] - rubric


def test_statistics_are_those_of_the_fit(plan, fitted):
    fit, found = fitted
    arrays = (*plan, logits_of(fit))
    for axis, facet in enumerate(FACETS):
        for level in range(SHAPE[axis]):
            select = tuple(level if a == axis else slice(None) for a in range(4))
            assert_written_out(getattr(found, facet).statistics, level, select, arrays)
    assert_written_out(found.overall, (), slice(None), arrays)
    assert found.cell.infit.shape == SHAPE[:2]


def test_margins_are_reproduced_where_no_prior_pulls(fitted):
    """Intercepts have no prior: models' expected scores are the observed ones."""
    model = fitted[1].model.statistics
    np.testing.assert_allclose(model.expected, model.observed, atol=1e-8)


def test_fair_averages(fitted):
    fit, found = fitted
    score, judge = np.asarray(fit.score), np.asarray(fit.judge)
    np.testing.assert_allclose(found.model.fair_average, 1 / (1 + np.exp(-score)), atol=1e-12)
    np.testing.assert_allclose(
        found.judge.fair_average, 1 / (1 + np.exp(judge - score.mean())), atol=1e-12
    )


def profile(plan, fit, facet, level, shift):
    """Penalised log-likelihood with one level shifted and theta at its optimum, by bisection."""
    successes, trials = plan
    severity = np.zeros(SHAPE)
    index = tuple(level if name == facet else slice(None) for name in FACETS)
    severity[index] = shift
    theta = np.asarray(fit.theta)[:, :, None, None]
    rest = logits_of(fit) - theta - severity
    low, high = np.full(SHAPE[:2], -30.0), np.full(SHAPE[:2], 30.0)
    for _ in range(80):
        middle = (low + high) / 2
        p = 1 / (1 + np.exp(-(rest + middle[:, :, None, None])))
        slope = (successes - trials * p).sum(axis=(2, 3)) - middle
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    logit = rest + middle[:, :, None, None]
    likelihood = successes * logit - trials * np.logaddexp(0, logit)
    return likelihood.sum() - 0.5 * (middle**2).sum()


def test_displacement_is_a_newton_step_of_the_profile_likelihood(plan, fitted):
    """Anywhere that theta is at its optimum; by central differences."""
    fit, h = fitted[0], 1e-3
    with jax.enable_x64(True):
        responses = binomial(*map(jnp.float64, plan), jnp.asarray(logits_of(fit)))
        found = displacements(responses, jnp.float64(1.0))
    for facet in ("judge", "question", "rubric"):
        for level in range(2):
            down, here, up = (profile(plan, fit, facet, level, s) for s in (-h, 0.0, h))
            step = -((up - down) / (2 * h)) / ((up - 2 * here + down) / h**2)
            np.testing.assert_allclose(found[facet][level], step, rtol=1e-4)


def test_a_model_without_a_finite_score(plan):
    successes, trials = plan[0].copy(), plan[1]
    successes[1] = trials[1]
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="laplace")
        found = mfrm.diagnose(fit, successes, trials)
    statistics = found.model.statistics
    assert np.isinf(fit.score[1]) and np.isnan(statistics.infit[1])
    assert statistics.expected[1] == statistics.observed[1] == trials[1].sum()
    assert found.model.fair_average[1] == 1.0
    assert np.isfinite(found.judge.statistics.infit).all()
    assert np.isfinite(found.judge.fair_average).all()
    assert found.model.separation.levels == 3 and np.isfinite(found.model.separation.p)


def test_an_unrated_model_under_tracing_spoils_no_other(plan):
    """Its estimates are NaN then; what is said of a judge is what the others' ratings say."""
    successes, trials = (array.astype(np.float32) for array in plan)
    successes[1], trials[1] = 0, 0
    kept = [0, 2, 3]
    fit = mfrm.fit(*(array.astype(np.float32) for array in plan), method="ridge")
    quality, score = fit.quality.copy(), fit.score.copy()
    quality[1], score[1] = np.nan, np.nan
    fit = dataclasses.replace(fit, quality=quality, score=score)
    found = mfrm.diagnose(fit, successes, trials)
    arrays = [array[kept] for array in (successes, trials, logits_of(fit))]
    assert np.isnan(found.model.statistics.infit[1])
    expected = written_out(*(array[:, :, 0].ravel() for array in arrays))
    np.testing.assert_allclose(found.judge.statistics.infit[0], expected["infit"], rtol=1e-4)
    np.testing.assert_allclose(found.judge.statistics.observed[0], expected["observed"])


def test_compiled_in_single_precision_equals_numpy(plan, fitted):
    arrays = [array.astype(np.float32) for array in plan]
    single = jax.jit(mfrm.diagnose)(mfrm.fit(*arrays, method="ridge"), *arrays)
    assert isinstance(single.judge.statistics.infit, jax.Array)
    for facet in FACETS:
        one, other = (getattr(d, facet).statistics for d in (single, fitted[1]))
        for name in ("infit", "outfit", "infit_zstd", "correlation", "expected_correlation"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), atol=2e-3, err_msg=f"{facet} {name}"
            )


def test_traces_under_jit_and_vmap(plan):
    stacked = [jnp.zeros((3, *SHAPE), jnp.float32)] * 2

    def both(successes, trials):
        fit = mfrm.fit(successes, trials, method="laplace")
        return mfrm.diagnose(fit, successes, trials), mfrm.interactions(fit, successes, trials)

    about, bias = jax.eval_shape(jax.jit(jax.vmap(both)), *stacked)
    assert about.judge.statistics.infit.shape == (3, 3) and bias.q.shape == (3, 3, 4)


def test_other_ratings_are_refused(plan, fitted):
    with pytest.raises(ValueError, match=r"shape \(4, 8, 3, 2\), found \(4, 7, 3, 2\)"):
        mfrm.diagnose(fitted[0], plan[0][:, :7], plan[1][:, :7])
    with pytest.raises(ValueError, match=r"anchors\['judge'\]"):
        mfrm.diagnose(fitted[0], *plan, anchors={"judge": [0.0]})
