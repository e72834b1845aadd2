"""Lists of ordinal ratings give what the dense arrays give; a fifth facet, what SciPy finds."""

import dataclasses

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.sparse.statistics import level_statistics
from tests.mfrm.conftest import assert_fits_agree
from tests.mfrm.dense_ordinal import simulate

pytestmark = pytest.mark.wiring

NAMES = ("model", "question", "judge", "rubric")
SHAPE = (4, 6, 5, 3)
PRECISION = mfrm.Precision(0.5, 2.0, 0.7, 1.5)
CODES = ("cell", "model", "question", "judge", "rubric")


def as_list(counts, categories):
    """Of (M, Q, J, I, K) counts, a rating an entry, in no order."""
    places = np.repeat(np.argwhere(counts > 0), counts[counts > 0], axis=0)
    *index, category = np.random.default_rng(0).permutation(places).T
    labels = {name: tuple(range(n)) for name, n in zip(NAMES, counts.shape, strict=False)}
    return mfrm.SparseRatings(
        *index, category, np.ones_like(category), labels, categories=categories
    )


@pytest.fixture(scope="module")
def counts():
    """A model of highest scores only, with which the highest category and another's range go."""
    made = simulate(SHAPE, 5, 3, missing=0.4, by_item=False)
    made[1:, ..., 2] += made[1:, ..., 3]  # category 3 is never given
    made[1:, ..., 3] = 0
    made[0] = np.eye(5, dtype=made.dtype)[4] * made[0].sum(axis=-1, keepdims=True)
    made[1:, ..., 2] += made[1:, ..., 4]
    made[1:, ..., 4] = 0
    return made


@pytest.mark.parametrize("model", ["rating_scale", "partial_credit"])
@pytest.mark.parametrize("closed", [False, True])
def test_equals_dense(counts, model, closed):
    if not closed:
        counts = simulate(SHAPE, 4, 0, missing=0.4, most=2)
    categories = tuple(range(1, counts.shape[-1] + 1))
    dense = mfrm.fit(counts, model=model, precision=PRECISION)
    with jax.enable_x64(True):
        ratings = as_list(counts, categories)
        sparse = mfrm.fit_sparse(ratings, model=model, precision=PRECISION, errors="all")
        assert_fits_agree(sparse, dense, atol=2e-8)
        np.testing.assert_allclose(sparse.step, dense.step, atol=1e-8)
        found, expected = sparse.standard_error.step, dense.standard_error.step
        np.testing.assert_allclose(found, expected, atol=1e-8)
        np.testing.assert_allclose(sparse.log_likelihood, dense.log_likelihood, rtol=1e-10)
        assert sparse.status == dense.status and sparse.converged
    for facet in CODES:
        one, other = (getattr(fit.extreme, facet) for fit in (sparse, dense))
        np.testing.assert_array_equal(one, other, err_msg=facet)


@pytest.fixture(scope="module", params=["rating_scale", "partial_credit"])
def fitted(request, counts):
    """(counts, dense fit, list); every place is rated once, so that entries are observations."""
    assert counts.sum(axis=-1).max() == 1
    categories = (1, 2, 3, 4, 6)
    dense = mfrm.fit(counts, model=request.param, precision=PRECISION)
    assert np.isinf(dense.score[0]) and np.isfinite(dense.score[1:]).all()
    return counts, dense, as_list(counts, categories)


def assert_same(found, expected, rtol=1e-8):
    for field in dataclasses.fields(found):
        one, other = (np.asarray(getattr(each, field.name)) for each in (found, expected))
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-10, err_msg=field.name)


def test_statistics_equal_those_of_the_dense_arrays(fitted):
    counts, fit, ratings = fitted
    about = mfrm.diagnose(fit, counts, categories=ratings.categories)
    found = level_statistics(fit, ratings)
    for facet in NAMES:
        own, expected = found[facet], getattr(about, facet)
        names = {name: name for name in ("infit", "infit_zstd", "outfit", "outfit_zstd", "count")}
        for name, other in (names | {"score": "score", "expected": "expected_score"}).items():
            value = getattr(expected.statistics, other)
            np.testing.assert_allclose(getattr(own, name), value, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(own.fair, expected.fair_average, atol=1e-9)
    found = mfrm.sparse_category_statistics(fit, ratings)
    assert_same(found, mfrm.category_statistics(fit, counts))


@pytest.mark.parametrize("pair", [("judge", "model"), ("model", "question"), ("rubric", "judge")])
def test_bias_equals_the_dense_one(fitted, pair):
    counts, fit, ratings = fitted
    expected = mfrm.interactions(fit, counts, facets=pair, categories=ratings.categories)
    assert_same(mfrm.sparse_interactions(fit, ratings, facets=pair), expected)


def test_unexpected_entries_equal_the_dense_ones(fitted):
    counts, fit, ratings = fitted
    options = {"least": 1.0, "most": 50}
    expected = mfrm.unexpected_responses(fit, counts, categories=ratings.categories, **options)
    found, places = mfrm.sparse_unexpected(fit, ratings, **options)
    assert_same(found, expected)
    assert found.total > 3
    np.testing.assert_array_equal(ratings.judge[places], found.judge)
