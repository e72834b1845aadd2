"""Judges left out against explicit refits; the change of gauge against anchored fits."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.stats

from dignified_jax import mfrm
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense import dense_ridge

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def fits(plan):
    with jax.enable_x64(True):
        return {
            center: mfrm.fit(*plan, center=center, method="ridge") for center in ("model", "zero")
        }


@pytest.fixture(scope="module")
def left_out(plan, fits):
    with jax.enable_x64(True):
        return mfrm.leave_one_judge_out(fits["model"], *plan)


def test_refits_equal_dense_fits(plan, fits, left_out):
    score = np.asarray(fits["model"].score)
    for judge in range(SHAPE[2]):
        kept = [np.delete(array, judge, axis=2) for array in plan]
        other = dense_ridge(*kept, "model", (1.0,) * 4)
        without = other.estimate["score"]
        np.testing.assert_allclose(left_out.score_without[judge], without, atol=1e-8)
        np.testing.assert_allclose(left_out.score_change[judge], score - without, atol=1e-8)
        for found, expected in (
            (left_out.kendall, scipy.stats.kendalltau(score, without)),
            (left_out.spearman, scipy.stats.spearmanr(score, without)),
        ):
            np.testing.assert_allclose(found[judge], expected.statistic)
        taus = [
            scipy.stats.kendalltau(one, two).statistic
            for one, two in zip(
                np.asarray(fits["model"].quality).T, other.estimate["quality"].T, strict=True
            )
        ]
        np.testing.assert_allclose(left_out.kendall_by_question[judge], np.nanmean(taus))
        assert left_out.message[judge] == "converged"


def test_the_shift_of_severities_is_a_change_of_gauge(fits, left_out):
    """The others' mean moves from 0, without the judge, to minus its severity over N."""
    judge = np.asarray(fits["model"].judge)
    for index in range(SHAPE[2]):
        others = np.delete(judge, index).mean()
        np.testing.assert_allclose(left_out.gauge_shift[index], others)
        np.testing.assert_allclose(left_out.severity[index], judge[index] - others)
        np.testing.assert_allclose(mfrm.gauge_shift(left_out.severity[index], 3), others, rtol=1e-6)


def test_free_intercepts_take_the_whole_shift(left_out):
    for shifts, gauge in zip(left_out.score_shift, left_out.gauge_shift, strict=True):
        np.testing.assert_allclose(shifts, gauge, atol=1e-9)


@pytest.mark.parametrize("center", ["model", "zero"])
def test_propagation_is_the_derivative_of_anchored_fits(plan, fits, center):
    """Central differences of dense fits with the judges held."""
    fit = fits[center]
    shift, h = np.array([0.5, -1.0, 0.8]), 1e-4
    with jax.enable_x64(True):
        found = mfrm.propagate(fit, *plan, shift)
    ends = [
        dense_ridge(
            *plan, center, (1.0,) * 4, {"judge": np.asarray(fit.judge) + sign * h * shift}
        ).estimate["score"]
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * h), atol=1e-6)


def test_a_model_that_only_one_judge_rated(plan):
    successes, trials = (array.copy() for array in plan)
    successes[3, :, 1:], trials[3, :, 1:] = 0, 0
    with jax.enable_x64(True):
        fit = mfrm.fit(successes, trials, method="laplace")
        found = mfrm.leave_one_judge_out(fit, successes, trials)
    assert "for model 3: leave these levels out" in found.message[0] and np.isnan(found.kendall[0])
    assert np.isnan(found.score_without[0]).all() and np.isfinite(found.score_without[1]).all()


def test_messages_name_levels_by_label_or_by_their_number_among_all(plan):
    """Not by the number that is left once a judge is taken out."""
    labels = {
        facet: [f"{facet} no. {n}" for n in range(size)]
        for facet, size in zip(("model", "question", "judge", "rubric"), SHAPE, strict=True)
    }
    successes, trials = (array.copy() for array in plan)
    successes[3, :, 1:], trials[3, :, 1:] = 0, 0  # one model of the first judge alone
    successes[:, :, 2] = 0  # only failures for the last one
    fit = mfrm.fit(successes, trials, method="laplace")
    for names, model, judge in ((labels, "model no. 3", "judge no. 2"), (None, "3", "2")):
        found = mfrm.leave_one_judge_out(fit, successes, trials, labels=names)
        assert f"for model {model}: leave these levels out" in found.message[0]
        assert f"judge {judge} (all failures)" in found.message[1]
    # Judge 1 alone joins the models of judges 0 and 2, and the questions.
    trials[:] = 0
    trials[:2, :2, 0] = trials[2:, 2:, 2] = trials[:, :, 1] = 1
    successes = np.minimum(successes, trials)
    fit = mfrm.fit(successes, trials, method="ridge")
    found = mfrm.leave_one_judge_out(fit, successes, trials, labels=labels).message[1]
    assert found.startswith("the design is disconnected")
    assert "judge: judge no. 0 | judge no. 2" in found


def test_a_judge_without_a_finite_severity_is_no_part_of_the_gauge(plan):
    """The zero sum is of the others; with a judge of only 0s besides, it is what it was."""
    successes, trials = (np.concatenate([a, a[:, :, :1]], axis=2) for a in plan)
    successes[:, :, 3] = 0
    fit, alone = (mfrm.fit(*given, method="laplace") for given in ((successes, trials), plan))
    assert np.isposinf(fit.judge[3])
    found = mfrm.leave_one_judge_out(fit, successes, trials)
    expected = mfrm.leave_one_judge_out(alone, *plan)
    np.testing.assert_allclose(found.severity[:3], expected.severity, atol=1e-6)
    np.testing.assert_allclose(found.gauge_shift[:3], expected.gauge_shift, atol=1e-6)
    np.testing.assert_allclose(found.gauge_shift[0], fit.judge[1:3].mean(), atol=1e-6)
    assert np.isposinf(found.severity[3]) and found.gauge_shift[3] == 0.0
    np.testing.assert_allclose(found.score_change[3], 0.0, atol=1e-6)


def test_refusals(plan, fits):
    with pytest.raises(ValueError, match="at least 2 judges"):
        alone = dataclasses.replace(fits["model"], judge=fits["model"].judge[:1])
        mfrm.leave_one_judge_out(alone, *(array[:, :, :1] for array in plan))
    anchors = {"judge": np.zeros(3)}
    with pytest.raises(ValueError, match="anchored judges"):
        mfrm.leave_one_judge_out(fits["model"], *plan, anchors=anchors)
    with pytest.raises(ValueError, match="shift must have shape"):
        mfrm.propagate(fits["model"], *plan, np.zeros(2))
