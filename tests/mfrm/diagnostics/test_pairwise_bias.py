"""Contrasts of biases by loops, Student's distribution by SciPy, what is unexpected after bias."""

import numpy as np
import pytest
import scipy.stats

from dignified_jax import mfrm
from dignified_jax.mfrm.diagnostics.pairwise_bias import student_tail
from tests.mfrm.dense import simulate

pytestmark = pytest.mark.wiring


@pytest.fixture(scope="module")
def fitted():
    """Ratings in which judge 0 favours model 1, and judge 2 gives model 0 nothing but successes."""
    successes, trials = simulate((3, 14, 4, 2), 5, missing=0.2)
    successes[1, :, 0] = trials[1, :, 0] * (np.arange(14) > 1)[:, None]
    successes[0, :, 2] = trials[0, :, 2]
    fit = mfrm.fit(successes, trials, method="laplace")
    return fit, (successes, trials), mfrm.interactions(fit, successes, trials)


def test_contrasts_by_loops(fitted):
    bias = fitted[2]
    found = mfrm.pairwise_bias(bias)
    expected = {}
    for model in range(3):
        for one in range(4):
            for other in range(one + 1, 4):
                values = [(float(bias.bias[j, model]), float(bias.standard_error[j, model]),
                           float(bias.count[j, model])) for j in (one, other)]  # fmt: skip
                if np.isfinite(values).all():
                    (a, sa, na), (b, sb, nb) = values
                    t = (a - b) / np.sqrt(sa**2 + sb**2)
                    freedom = na + nb - 2
                    p = 2 * scipy.stats.t.sf(abs(t), freedom)
                    expected[model, one, other] = (a - b, np.sqrt(sa**2 + sb**2), t, freedom, p)
    places = list(zip(found.target, found.first, found.second, strict=True))
    assert set(places) == set(expected) and found.total == len(expected) < 18  # not the infinite
    assert (np.diff(np.abs(found.t)) <= 0).all()
    columns = np.stack(
        [found.contrast, found.standard_error, found.t, found.degrees_of_freedom, found.p], axis=1
    )
    wanted = np.array([expected[place] for place in places])
    np.testing.assert_allclose(columns[:, :4], wanted[:, :4], rtol=1e-9)
    np.testing.assert_allclose(columns[:, 4], wanted[:, 4], atol=2e-4)
    assert (found.target[0], found.first[0]) == (1, 0) and found.q[0] < 0.05
    assert mfrm.pairwise_bias(bias, most=2).t.size == 2


def test_students_distribution():
    freedom, t = np.meshgrid([1, 2, 3, 4, 7, 30, 400], np.linspace(-6, 6, 25))
    expected = 2 * scipy.stats.t.sf(np.abs(t), freedom)
    np.testing.assert_allclose(student_tail(t, freedom), expected, atol=1e-3)


def test_what_is_unexpected_after_bias(fitted):
    """Residuals with every pair's bias added to its logit, by loops."""
    fit, (successes, trials), bias = fitted
    found = mfrm.unexpected_responses(
        fit, successes, trials, bias={("judge", "model"): bias}, least=1.5
    )
    kept = {}
    for place in np.argwhere(trials > 0):
        m, q, j, i = place
        x = float(fit.quality[m, q] - fit.question[q] - fit.judge[j] - fit.rubric[i])
        x += float(bias.bias[j, m])
        if np.isfinite(x):
            p, n = 1 / (1 + np.exp(-x)), trials[m, q, j, i]
            kept[tuple(place)] = (successes[m, q, j, i] - n * p) / np.sqrt(n * p * (1 - p))
    wanted = {place: value for place, value in kept.items() if abs(value) >= 1.5}
    places = zip(found.model, found.question, found.judge, found.rubric, strict=True)
    assert found.total == len(wanted) > 0 and found.rated == len(kept)
    for place, value in zip(places, found.standardized, strict=True):
        np.testing.assert_allclose(value, wanted[place], rtol=1e-6)
    before = mfrm.unexpected_responses(fit, successes, trials, least=1.5)
    assert before.total != found.total


def test_the_bias_of_a_pair_of_facets_counts_once_either_way_round(fitted):
    fit, (successes, trials), bias = fitted
    turned = mfrm.interactions(fit, successes, trials, facets=("model", "judge"))
    both = {("judge", "model"): bias, ("model", "judge"): turned}
    one, other = (
        mfrm.unexpected_responses(fit, successes, trials, bias=found, least=1.5)
        for found in (both, {("judge", "model"): bias})
    )
    assert one.total == other.total > 0
    np.testing.assert_allclose(one.standardized, other.standardized, atol=1e-6)
