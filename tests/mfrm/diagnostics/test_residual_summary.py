"""The summary of residuals, and the shifts from raw means, against loops over ratings."""

import jax
import numpy as np
import pytest
import scipy.optimize

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.residual_summary import residual_summary, step_parameters
from dignified_jax.mfrm.diagnostics.shifts import shifts
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense import simulate
from tests.mfrm.diagnostics.conftest import fit_of

pytestmark = pytest.mark.wiring

VALUES = np.array([1.0, 2.0, 3.0, 5.0])


def test_moments_and_chi_squares(judged, by_hand):
    fit, counts, _ = judged
    with jax.enable_x64(True):
        found = residual_summary(fit, counts, categories=VALUES)
    score = np.array([VALUES[k] for _, k, _, _ in by_hand])
    expected = np.array([p @ VALUES for *_, p in by_hand])
    variance = np.array([p @ (VALUES - p @ VALUES) ** 2 for *_, p in by_hand])
    residual = score - expected
    for name, values in {
        "score": score,
        "expected": expected,
        "residual": residual,
        "standardized": residual / np.sqrt(variance),
    }.items():
        wanted = (values.mean(), values.std(), values.std(ddof=1))
        np.testing.assert_allclose(found.moments[name], wanted, atol=1e-9, err_msg=name)
    assert found.count == len(by_hand)
    np.testing.assert_allclose(found.pearson, (residual**2 / variance).sum())
    deviance = -2 * sum(np.log(p[k]) for _, k, _, p in by_hand)
    np.testing.assert_allclose(found.deviance, deviance)
    np.testing.assert_allclose(found.deviance, -2 * fit.log_likelihood)
    np.testing.assert_allclose(found.explained, 1 - (residual**2).sum() / score.var() / score.size)
    # 3 scores, 3 judges, 2 items, 5 questions and 2 steps are free.
    assert found.parameters == 3 + 3 + 2 + 5 + 2 and found.answers == 18


def test_shifts_add_up_and_their_parts_are_means(judged, by_hand):
    fit, counts, scores = judged
    with jax.enable_x64(True):
        found = shifts(fit, counts)
    np.testing.assert_allclose(
        found.raw + found.gauge + found.panel + found.curve, fit.score, atol=1e-12
    )

    def severity(place):
        _, q, j, i = place
        return fit.question[q] + fit.judge[j] + fit.rubric[i]

    gauge = np.mean([severity(place) for place, *_ in by_hand])
    np.testing.assert_allclose(found.gauge, gauge, atol=1e-12)
    step = np.concatenate([[0], np.cumsum(fit.step[0])])

    def expected(x):
        weight = np.exp(x * np.arange(4) - step)
        return weight @ np.arange(4) / weight.sum()

    for m in range(3):
        own = [severity(place) for place, *_ in by_hand if place[0] == m]
        np.testing.assert_allclose(found.panel[m], np.mean(own) - gauge, atol=1e-12)
        mean = np.nanmean(scores[m])
        raw = scipy.optimize.brentq(lambda x, mean=mean: expected(x) - mean, -20, 20)
        np.testing.assert_allclose(found.raw[m], raw, atol=1e-4)
    by_mean = np.argsort(-np.nanmean(scores, axis=(1, 2, 3)))
    assert found.rank_raw[by_mean].tolist() == [1, 2, 3]


def test_a_complete_design_has_no_correction_for_the_panel():
    """Every model met the same judges: raw means need a scale, and no correction."""
    counts = simulate(SHAPE, 1, missing=0.0, most_trials=1)
    rng = np.random.default_rng(0)
    judge, rubric, question = (
        v - v.mean() for v in map(rng.normal, (0, 0, 0), (1, 1, 1), (3, 2, 8))
    )
    fit = fit_of(rng.normal(size=SHAPE[:2]), judge, rubric, question)
    found = shifts(fit, *counts)
    np.testing.assert_allclose(found.panel, 0, atol=1e-6)
    np.testing.assert_allclose(found.gauge, 0, atol=1e-6)


def test_parameters_of_other_scales(plan):
    """4 models, 8 questions, 3 judges and 2 items: who is anchored is not free, all others are."""
    anchors = {"judge": [0.5, np.nan, np.nan], "question": [np.nan, *np.zeros(7)]}
    anchored = mfrm.fit(*plan, method="ridge", anchors=anchors)
    assert residual_summary(anchored, *plan).parameters == 4 + 1 + 2 + 1
    fit = mfrm.fit(*plan, method="ridge")
    for levels in ([0], [0, 2]):  # another scale, as many parameters
        group = mfrm.anchor_groups(fit, *plan, groups={"judge": (levels, 0.5)})
        assert residual_summary(group, *plan).parameters == 4 + 7 + 2 + 1
    for center, intercepts in {"grand": 1, "zero": 0}.items():
        fit = mfrm.fit(*plan, method="ridge", center=center)
        assert residual_summary(fit, *plan).parameters == intercepts + 7 + 2 + 1


def test_items_with_one_category_have_no_steps():
    """Of three sets two, none and one step; each set in use sums to zero."""
    step = np.array([[-0.5, 0.5], [np.nan, -np.inf], [np.nan, 0.0]])
    fit = fit_of(np.zeros((2, 2)), np.zeros(2), np.zeros(3), np.zeros(2), step)
    assert step_parameters(fit) == 1
