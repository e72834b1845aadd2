"""Bias and unexpected ratings of lists of ratings: what the dense arrays give."""

import dataclasses

import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.sparse import bias as module
from tests.mfrm.dense import simulate
from tests.mfrm.sparse.test_fit import as_list

FACETS = ("model", "question", "judge", "rubric")


@pytest.fixture(scope="module")
def fitted():
    """Ratings, a dense fit to them, with a model of successes only, and the same as a list."""
    successes, trials = simulate((4, 10, 6, 2), 3, missing=0.5, most_trials=2)
    successes[3] = trials[3]
    successes[:, :, 5] = trials[:, :, 5]
    fit = mfrm.fit(successes, trials, method="ridge")
    assert np.isinf(fit.score[3])
    return successes, trials, fit, as_list(successes, trials)


@pytest.mark.parametrize("pair", [("judge", "model"), ("model", "question"), ("rubric", "judge")])
def test_bias_equals_the_dense_one(fitted, pair):
    successes, trials, fit, ratings = fitted
    expected = mfrm.interactions(fit, successes, trials, facets=pair)
    found = mfrm.sparse_interactions(fit, ratings, facets=pair)
    for field in dataclasses.fields(found):
        one, other = (np.asarray(getattr(each, field.name)) for each in (found, expected))
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10, err_msg=field.name)
    assert np.isinf(found.bias).any()


def test_unexpected_entries_equal_the_dense_ones():
    successes, trials = simulate((3, 12, 5, 2), 1, missing=0.3, spread=1.5)
    fit = mfrm.fit(successes, trials, method="ridge")
    ratings = as_list(successes, trials)
    expected = mfrm.unexpected_responses(fit, successes, trials, least=1.5)
    found, places = mfrm.sparse_unexpected(fit, ratings, least=1.5)
    assert found.total == expected.total > 3 and found.rated == expected.rated
    np.testing.assert_allclose(found.standardized, expected.standardized, rtol=1e-9)
    for facet in FACETS:
        np.testing.assert_array_equal(getattr(found, facet), getattr(expected, facet))
        np.testing.assert_array_equal(getattr(ratings, facet)[places], getattr(found, facet))
    np.testing.assert_allclose(found.residual, expected.residual, atol=1e-12)


def test_refusals(fitted, monkeypatch):
    fit, ratings = fitted[2:]
    with pytest.raises(ValueError, match="two different ones of model, question, judge, rubric"):
        mfrm.sparse_interactions(fit, ratings, facets=("judge", "language"))
    monkeypatch.setattr(module, "MOST_PAIRS", 20)
    with pytest.raises(ValueError, match="judge by model: 6 x 4 pairs of levels are more than 20"):
        mfrm.sparse_interactions(fit, ratings)
