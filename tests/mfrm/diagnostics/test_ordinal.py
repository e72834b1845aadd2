"""Fit statistics of ordered categories against loops over single ratings."""

import itertools
import math

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.expected_scores import logits, ordinal
from tests.mfrm.conftest import SHAPE
from tests.mfrm.dense_ordinal import simulate

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def counts():
    return simulate(SHAPE, 4, 0, missing=0.4, most=3)


@pytest.fixture(scope="module", params=["rating_scale", "partial_credit"])
def fitted(request, counts):
    """As NumPy arrays: those of JAX would become float32 again outside of the block."""
    with jax.enable_x64(True):
        fit = mfrm.fit(counts, model=request.param, method="ridge")
        return jax.tree.map(np.asarray, (fit, mfrm.diagnose(fit, counts)))


def chances(logit, steps):
    """P(k), from the model's definition log P(k) / P(k - 1) = logit - step_k."""
    weights = [1.0]
    for step in steps:
        weights.append(weights[-1] * math.exp(logit - step))
    return np.array(weights) / sum(weights)


def moments_by_enumeration(ratings, chance):
    """Mean, variance and fourth central moment of a sum of ratings, over all their outcomes."""
    outcomes = []
    for categories in itertools.product(range(len(chance)), repeat=ratings):
        outcomes.append((sum(categories), math.prod(chance[k] for k in categories)))
    mean = sum(total * p for total, p in outcomes)
    return mean, *(sum((t - mean) ** power * p for t, p in outcomes) for power in (2, 4))


def rows_of(fit, counts):
    """(place, observed, expected, variance, fourth moment) of every rated place."""
    steps = np.broadcast_to(fit.step, (counts.shape[3], counts.shape[4] - 1))
    for place in np.ndindex(counts.shape[:4]):
        model, question, judge, item = place
        ratings = int(counts[place].sum())
        if ratings:
            logit = fit.quality[model, question] - fit.question[question]
            logit = float(logit - fit.judge[judge] - fit.rubric[item])
            observed = float((counts[place] * np.arange(counts.shape[4])).sum())
            chance = chances(logit, steps[item])
            yield place, observed, *moments_by_enumeration(ratings, chance)


def test_moments_are_those_of_all_outcomes(fitted, counts):
    """Repeated ratings of a place too; 1e-10."""
    fit, _ = fitted
    with jax.enable_x64(True):
        found = ordinal(np.asarray(counts, float), logits(fit), fit.step)
    rows = list(rows_of(fit, counts))
    assert max(counts.sum(axis=-1).ravel()) >= 2
    for place, observed, expected, variance, fourth in rows:
        assert float(found.observed[place]) == observed
        for name, value in (
            ("expected", expected),
            ("residual", observed - expected),
            ("variance", variance),
            ("fourth_moment", fourth),
        ):
            np.testing.assert_allclose(getattr(found, name)[place], value, rtol=1e-9, atol=1e-10)


def test_mean_squares_of_every_facet_are_sums_over_ratings(fitted, counts):
    fit, about = fitted
    rows = list(rows_of(fit, counts))
    for axis, facet in enumerate(("model", "question", "judge", "rubric")):
        found = getattr(about, facet).statistics
        for level in range(counts.shape[axis]):
            own = [row[1:] for row in rows if row[0][axis] == level]
            square = sum((y - e) ** 2 for y, e, *_ in own)
            infit = square / sum(v for _, _, v, _ in own)
            outfit = np.mean([(y - e) ** 2 / v for y, e, v, _ in own])
            np.testing.assert_allclose(found.infit[level], infit, rtol=1e-8)
            np.testing.assert_allclose(found.outfit[level], outfit, rtol=1e-8)


def test_fair_averages_are_expected_categories(fitted, counts):
    """A judge's is the mean over items, an item's that of its own steps."""
    fit, about = fitted
    steps = np.broadcast_to(fit.step, (counts.shape[3], counts.shape[4] - 1))
    category = np.arange(counts.shape[4])
    means = {name: float(np.mean(getattr(fit, name))) for name in ("judge", "rubric", "question")}
    center = float(np.mean(fit.score)) - sum(means.values())
    for judge, severity in enumerate(np.asarray(fit.judge)):
        by_item = [
            chances(center + means["judge"] - severity, steps[item]) @ category for item in range(2)
        ]
        np.testing.assert_allclose(about.judge.fair_average[judge], np.mean(by_item), rtol=1e-9)
    for item, difficulty in enumerate(np.asarray(fit.rubric)):
        expected = chances(center + means["rubric"] - difficulty, steps[item]) @ category
        np.testing.assert_allclose(about.rubric.fair_average[item], expected, rtol=1e-9)


def test_tables_hold_ordinal_measures(fitted, counts):
    fit, about = fitted
    labels = {
        facet: [f"{facet}{i}" for i in range(size)]
        for facet, size in zip(("model", "question", "judge", "rubric"), SHAPE, strict=True)
    }
    table = mfrm.tables.measure_table(fit, about, labels, "judge")
    assert "judge0" in table.text() and "infit" in table.text()


def test_refusals(fitted, counts):
    fit, _ = fitted
    with pytest.raises(ValueError, match="trials has no meaning"):
        mfrm.diagnose(fit, counts, counts.sum(axis=-1))
    for function in (mfrm.diagnose, mfrm.interactions, mfrm.leave_one_judge_out):
        with pytest.raises(ValueError, match=r"the fit is of ratings of shape .* found"):
            function(fit, counts[..., :3])
    with pytest.raises(ValueError, match="categories must be the scores of 4"):
        mfrm.diagnose(fit, counts, categories=(1, 2, 3))
