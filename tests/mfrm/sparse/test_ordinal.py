"""Lists of ordinal ratings give what the dense arrays give; a fifth facet, what SciPy finds."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special

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
    """A model of highest scores only, the only one with the highest; the one below is unused."""
    made = simulate(SHAPE, 5, 3, missing=0.4, by_item=False)
    made[1:, ..., 2] += made[1:, ..., 3]  # category 3 is never given
    made[1:, ..., 3] = 0
    made[0] = np.eye(5, dtype=made.dtype)[4] * made[0].sum(axis=-1, keepdims=True)
    made[1:, ..., 2] += made[1:, ..., 4]
    made[1:, ..., 4] = 0
    return made


@pytest.mark.parametrize(
    ("model", "closed"),
    [
        ("rating_scale", False),
        ("partial_credit", True),
        pytest.param("rating_scale", True, marks=pytest.mark.slow),
        pytest.param("partial_credit", False, marks=pytest.mark.slow),
    ],
)
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
        assert sparse.iterations <= 10  # steps that are always cut would be 15
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


@pytest.fixture(scope="module")
def five():
    """(ratings, fit) of five facets with ratings from 1 to 4, half of the places rated."""
    rng = np.random.default_rng(0)
    sizes = {"model": 4, "question": 3, "judge": 3, "rubric": 2, "time": 3}
    places = np.argwhere(rng.random(tuple(sizes.values())) < 0.5)
    x = sum(rng.normal(size=n)[levels] for n, levels in zip(sizes.values(), places.T, strict=True))
    cut = np.array([-1.5, 0.0, 1.5])
    category = (x[:, None] + rng.logistic(size=(x.size, 1)) > cut).sum(axis=1)
    labels = {name: tuple(f"{name} {level}" for level in range(n)) for name, n in sizes.items()}
    ratings = mfrm.SparseRatings(
        *places.T[:4],
        category,
        np.ones_like(category),
        labels,
        {"time": places[:, 4]},
        categories=(1, 2, 3, 4),
    )
    with jax.enable_x64(True):
        fit = mfrm.fit_sparse(ratings, precision=PRECISION, errors="levels")
        return ratings, jax.tree.map(np.asarray, fit)


def test_five_facets_equal_a_written_out_likelihood(five):
    """SciPy's minimum over all effects that sum to zero, and the inverse of the Hessian there."""
    ratings, fit = five
    index = [ratings.model, 3 * ratings.model + ratings.question]
    index += [ratings.question, ratings.judge, ratings.rubric, ratings.extra["time"]]
    sizes, signs = [4, 12, 3, 3, 2, 3], [1, 1, -1, -1, -1, -1]
    rows = [s * np.eye(n)[i] for s, n, i in zip(signs, sizes, index, strict=True)]
    potential = np.arange(4)[:, None] * np.concatenate(rows, axis=1)[:, None]
    passed = -np.tri(4, 3, -1)  # category k has passed the first k steps
    passed = np.broadcast_to(passed, (len(potential), 4, 3))
    potential = np.concatenate([potential, passed], axis=2)
    parts = np.split(np.arange(potential.shape[2]), np.cumsum([*sizes, 3])[:-1])
    held = np.zeros((5, potential.shape[2]))
    for row, part in zip(held, parts[2:], strict=True):
        row[part] = 1
    basis = scipy.linalg.null_space(held)
    own = PRECISION
    values = [0, own.theta, own.question, own.judge, own.rubric, own.rubric, 0]
    penalty = np.repeat(values, [*sizes, 3])

    def loss(z):
        x = basis @ z
        log_p = scipy.special.log_softmax(potential @ x, axis=1)
        likelihood = np.take_along_axis(log_p, ratings.successes[:, None], axis=1).sum()
        return 0.5 * (penalty * x**2).sum() - likelihood

    def chances(z):
        return scipy.special.softmax(potential @ basis @ z, axis=1)

    def slope(z):
        away = np.eye(4)[ratings.successes] - chances(z)
        return basis.T @ (penalty * (basis @ z) - np.einsum("nk,nkf->f", away, potential))

    def curvature(z):
        p = chances(z)
        centred = potential - np.einsum("nk,nkf->nf", p, potential)[:, None]
        hessian = np.einsum("nk,nkf,nkg->fg", p, centred, centred, optimize=True)
        return basis.T @ (hessian + np.diag(penalty)) @ basis

    start = np.zeros(basis.shape[1])
    found = scipy.optimize.minimize(
        loss, start, jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-10}
    )
    x = basis @ found.x
    error = np.sqrt(np.diag(basis @ np.linalg.inv(curvature(found.x)) @ basis.T))
    levels = mfrm.facet_levels(fit, ratings) | {"step": (fit.step[0], fit.standard_error.step[0])}
    names = ("question", "judge", "rubric", "time", "step")
    for name, part in zip(names, parts[2:], strict=True):
        np.testing.assert_allclose(levels[name][0], x[part], atol=1e-7, err_msg=name)
        np.testing.assert_allclose(levels[name][1], error[part], atol=1e-7, err_msg=name)
    quality = x[:4, None] + x[parts[1]].reshape(4, 3)
    np.testing.assert_allclose(fit.quality, quality, atol=1e-7)
    likelihood = 0.5 * (penalty * x**2).sum() - found.fun
    np.testing.assert_allclose(fit.log_likelihood, likelihood, rtol=1e-9)


@pytest.mark.slow
def test_two_categories_are_yes_and_no(five):
    ratings = five[0]
    yes = ratings.successes >= 2
    ordinal = dataclasses.replace(ratings, successes=yes.astype(int), categories=(0, 1))
    binary = dataclasses.replace(ordinal, categories=None)
    with jax.enable_x64(True):
        one, other = (mfrm.fit_sparse(each, errors="levels") for each in (ordinal, binary))
        assert_fits_agree(one, other, atol=1e-8)
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-10)
    assert one.step.tolist() == [[0.0]]
    tables = [level_statistics(fit, each) for fit, each in ((one, ordinal), (other, binary))]
    for name, about in tables[0].items():
        assert_same(about, tables[1][name], rtol=1e-6)


@pytest.mark.slow
def test_float32(five):
    ratings, exact = five
    fit = mfrm.fit_sparse(ratings, precision=PRECISION, errors="levels")
    assert fit.converged and fit.score.dtype == np.float32
    for name in ("quality", "judge", "rubric", "question", "score", "step"):
        np.testing.assert_allclose(getattr(fit, name), getattr(exact, name), atol=5e-5)
    for name in ("judge", "rubric", "question", "score", "intercept", "step"):
        found, expected = (getattr(each.standard_error, name) for each in (fit, exact))
        np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"categories": (1, 2, 3)}, {}, r"successes must be whole numbers from 0 to 2 and trials"),
        ({"categories": None}, {"model": "rating_scale"}, "must be binomial of yes/no ratings"),
        ({}, {"model": "binomial"}, "must be rating_scale or partial_credit of ordinal ratings"),
        ({"successes": 2}, {}, "no model has a finite score"),
    ],
)
def test_refusals(five, change, options, message):
    ratings = five[0]
    if "successes" in change:
        change = {"successes": np.full_like(ratings.successes, change["successes"])}
    if change.get("categories", ()) is None:
        change["successes"] = np.minimum(ratings.successes, 1)
    with pytest.raises(ValueError, match=message):
        mfrm.fit_sparse(dataclasses.replace(ratings, **change), **options)
