"""Lists of ratings give what the dense arrays give."""

import dataclasses
import itertools
import re

import jax
import numpy as np
import pytest

from dignified_jax import mfrm
from dignified_jax.mfrm.solver.memory import refuse_sparse
from dignified_jax.mfrm.sparse.fit import facet_levels
from dignified_jax.mfrm.sparse.statistics import level_statistics
from tests.mfrm.conftest import assert_fits_agree
from tests.mfrm.dense import simulate

pytestmark = pytest.mark.wiring

NAMES = ("model", "question", "judge", "rubric")
PRECISION = mfrm.Precision(0.5, 2.0, 0.7, 1.5)


def as_list(successes, trials):
    """Of dense arrays; entries with several trials in two parts."""
    parts = []
    for place in np.argwhere(trials > 0):
        y, n = successes[tuple(place)], trials[tuple(place)]
        first = min(y, 1)
        parts.append((*place, first, 1))
        if n > 1:
            parts.append((*place, y - first, n - 1))
    columns = np.random.default_rng(0).permutation(np.array(parts)).T
    names = ("model", "question", "judge", "rubric")
    labels = {name: tuple(range(size)) for name, size in zip(names, trials.shape, strict=True)}
    return mfrm.SparseRatings(*columns, labels=labels)


@pytest.fixture(scope="module")
def few():
    """Twelve judges with a fifth of the ratings each."""
    successes, trials = simulate((3, 10, 12, 2), 3, missing=0.8, most_trials=3)
    trials[:, 0] *= np.random.default_rng(1).random((3, 12, 2)) < 0.6
    return np.minimum(successes, trials), trials


def test_equals_dense(few):
    with jax.enable_x64(True):
        dense = mfrm.fit(*few, precision=PRECISION)
        sparse = mfrm.fit_sparse(as_list(*few), precision=PRECISION, errors="all")
    assert sparse.converged and sparse.status == mfrm.Status.CONVERGED
    assert_fits_agree(sparse, dense, atol=1e-9)
    np.testing.assert_allclose(sparse.log_likelihood, dense.log_likelihood, rtol=1e-12)
    for facet in ("cell", "model", "question", "judge", "rubric"):
        found, expected = (getattr(fit.extreme, facet) for fit in (sparse, dense))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_float32_and_fewer_errors(few):
    dense = mfrm.fit(*few, precision=PRECISION)
    sparse = mfrm.fit_sparse(as_list(*few), precision=PRECISION, errors="levels")
    for name in ("quality", "judge", "rubric", "question", "score"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(dense, name), atol=5e-5)
    for name in ("judge", "rubric", "question", "score", "intercept"):
        found, expected = (getattr(fit.standard_error, name) for fit in (sparse, dense))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isnan(sparse.standard_error.quality).all()


def test_a_model_without_a_finite_score(few):
    successes = few[0].copy()
    successes[1] = few[1][1]
    with jax.enable_x64(True):
        dense = mfrm.fit(successes, few[1], precision=PRECISION)
        sparse = mfrm.fit_sparse(as_list(successes, few[1]), precision=PRECISION)
    assert sparse.status == mfrm.Status.EXTREME_MODEL and sparse.score[1] == np.inf
    np.testing.assert_allclose(sparse.judge, dense.judge, atol=1e-9)
    np.testing.assert_allclose(sparse.standard_error.score, dense.standard_error.score, atol=1e-9)


@pytest.mark.slow
def test_ten_thousand_judges():
    """The score equations hold: residuals of a judge sum to the prior's pull."""
    rng = np.random.default_rng(0)
    sizes = {"model": 5, "question": 200, "judge": 10_000, "rubric": 2}
    severity = rng.normal(size=10_000)
    index = {name: rng.integers(0, size, 100_000) for name, size in sizes.items()}
    index["judge"] = np.arange(100_000) % 10_000
    x = np.linspace(-1, 1, 5)[index["model"]] - severity[index["judge"]]
    y = rng.random(x.size) < 1 / (1 + np.exp(-x))
    table = index | {"score": y}
    ratings = mfrm.from_long(table, sparse=True)
    assert len(ratings.labels["judge"]) == 10_000
    fit = mfrm.fit_sparse(ratings)
    assert fit.converged and np.isnan(fit.standard_error.judge).all()
    effects = {name: np.asarray(getattr(fit, name), float) for name in ("judge", "rubric")}
    logit = np.asarray(fit.quality - fit.question, float)[index["model"], index["question"]]
    for name, values in effects.items():
        logit = logit - values[index[name]]
    residual = y - 1 / (1 + np.exp(-logit))
    pull = np.bincount(index["judge"], weights=residual) + effects["judge"]
    np.testing.assert_allclose(pull, 0, atol=2e-3)
    assert np.corrcoef(effects["judge"], severity)[0, 1] > 0.8
    assert (np.abs(fit.score - np.linspace(-1, 1, 5)) < 4 * fit.standard_error.score).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"trials": 0}, {}, r"rating 4: successes 1, trials 0 \(1 in all\)"),
        ({"successes": 9}, {}, "0 <= successes <= trials"),
        ({"judge": 12}, {}, "judge must be whole numbers from 0 to 11, found rating 4: 12"),
        ({}, {"errors": "some"}, "errors must be one of scores, levels, all"),
        ({}, {"precision": mfrm.Precision(judge=0.0)}, "precision.judge must be positive"),
    ],
)
def test_refusals(few, change, options, message):
    ratings = as_list(*few)
    first = int(np.flatnonzero(ratings.successes == 1)[0])
    order = np.arange(len(ratings.model))
    order[[4, first]] = order[[first, 4]]
    arrays = {n: v for n, v in vars(ratings).items() if isinstance(v, np.ndarray)}
    columns = {name: values[order].copy() for name, values in arrays.items()}
    for name, value in change.items():
        columns[name][4] = value
    with pytest.raises(ValueError, match=message):
        mfrm.fit_sparse(mfrm.SparseRatings(**columns, labels=ratings.labels), **options)


def test_parts_without_a_common_level(few):
    one = as_list(*few)
    names = ("model", "question", "judge", "rubric")
    sizes = {name: len(one.labels[name]) for name in names}
    two = {
        name: np.concatenate([getattr(one, name), getattr(one, name) + sizes[name]])
        for name in names
    }
    counts = {name: np.tile(getattr(one, name), 2) for name in ("successes", "trials")}
    labels = {name: tuple(range(2 * size)) for name, size in sizes.items()}
    models = sizes["model"]
    apart = " | ".join(", ".join(map(str, range(k * models, (k + 1) * models))) for k in (0, 1))
    with pytest.raises(ValueError, match=rf"2 parts .* Their models are {re.escape(apart)}$"):
        mfrm.fit_sparse(mfrm.SparseRatings(**two, **counts, labels=labels))
    empty = dataclasses.replace(one, labels=one.labels | {"judge": tuple(range(13))})
    with pytest.raises(ValueError, match=r"no ratings for judge \[12\]"):
        mfrm.fit_sparse(empty)


@pytest.fixture(scope="module")
def five():
    """(ratings, fit, statistics) of five facets with repeated judgments."""
    rng = np.random.default_rng(0)
    sizes = {"model": 3, "question": 5, "judge": 3, "rubric": 2, "language": 3}
    index = {name: rng.integers(size, size=220) for name, size in sizes.items()}
    trials = rng.integers(1, 4, size=220)
    chance = 1 / (1 + np.exp(-sum(rng.normal(size=n)[index[name]] for name, n in sizes.items())))
    labels = {name: tuple(range(size)) for name, size in sizes.items()}
    extra = {"language": index.pop("language")}
    successes = rng.binomial(trials, chance)
    ratings = mfrm.SparseRatings(*index.values(), successes, trials, labels, extra)
    with jax.enable_x64(True):
        fit = mfrm.fit_sparse(ratings, precision=PRECISION, errors="levels")
        return ratings, fit, level_statistics(fit, ratings)


def test_a_fifth_facet_equals_a_dense_solve(five):
    """Newton's method on all effects, with zero sums by the pseudo-inverse's constraints."""
    ratings, fit, _ = five
    index = [ratings.model, ratings.question, ratings.judge, ratings.rubric]
    columns = [np.eye(3)[index[0]]]
    columns.append(np.eye(15)[5 * index[0] + index[1]])
    columns += [-np.eye(n)[i] for n, i in zip((5, 3, 2), index[1:], strict=True)]
    columns.append(-np.eye(3)[ratings.extra["language"]])
    sizes = [3, 15, 5, 3, 2, 3]
    design = np.concatenate(columns, axis=1)
    given = [0, PRECISION.theta, PRECISION.question, PRECISION.judge, PRECISION.rubric]
    penalty = np.repeat([*given, PRECISION.rubric], sizes)
    ends = np.cumsum([0, *sizes])
    constraints = np.zeros((4, design.shape[1]))
    for row, part in enumerate(range(2, 6)):
        constraints[row, ends[part] : ends[part + 1]] = 1
    x, n = np.zeros(design.shape[1]), ratings.trials
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ x))
        hessian = design.T @ ((n * p * (1 - p))[:, None] * design) + np.diag(penalty)
        kkt = np.block([[hessian, constraints.T], [constraints, np.zeros((4, 4))]])
        gradient = design.T @ (ratings.successes - n * p) - penalty * x
        x = x + np.linalg.solve(kkt, np.append(gradient, np.zeros(4)))[: x.size]
    error = np.sqrt(np.diag(np.linalg.inv(kkt))[: x.size])
    parts = [slice(*pair) for pair in itertools.pairwise(ends)]
    with jax.enable_x64(True):
        levels = facet_levels(fit, ratings)
    for name, part in zip(("question", "judge", "rubric", "language"), parts[2:], strict=True):
        np.testing.assert_allclose(levels[name][0], x[part], atol=1e-8, err_msg=name)
        np.testing.assert_allclose(levels[name][1], error[part], atol=1e-8, err_msg=name)
    score = x[:3] + x[3:18].reshape(3, 5).mean(axis=1)
    np.testing.assert_allclose(levels["model"][0], score, atol=1e-8)


def test_statistics_are_sums_over_the_list(five):
    ratings, fit, found = five
    levels = {name: np.asarray(about.measure) for name, about in found.items()}
    rows = []
    for row in range(len(ratings.model)):
        x = float(fit.quality[ratings.model[row], ratings.question[row]])
        for name in ("question", "judge", "rubric"):
            x -= levels[name][getattr(ratings, name)[row]]
        p = 1 / (1 + np.exp(-x + levels["language"][ratings.extra["language"][row]]))
        n = ratings.trials[row]
        rows.append((ratings.successes[row], n * p, n * p * (1 - p), n))
    y, expected, variance, n = np.array(rows).T
    for level in range(3):
        own = ratings.extra["language"] == level
        about = found["language"]
        square = (y - expected)[own] ** 2
        np.testing.assert_allclose(about.infit[level], square.sum() / variance[own].sum())
        np.testing.assert_allclose(about.outfit[level], (square / variance[own]).mean())
        np.testing.assert_allclose(about.expected[level], expected[own].sum())
        assert about.count[level] == n[own].sum() and about.score[level] == y[own].sum()


@pytest.mark.slow
def test_statistics_equal_those_of_the_dense_arrays(few):
    """Standardised mean squares and fair averages too, of ratings that are one entry a place."""
    with jax.enable_x64(True):
        dense = mfrm.fit(*few, precision=PRECISION)
        about = mfrm.diagnose(dense, *few)
        places = np.argwhere(few[1] > 0)
        columns = [*places.T, few[0][few[1] > 0], few[1][few[1] > 0]]
        labels = {n: tuple(range(s)) for n, s in zip(NAMES, few[1].shape, strict=True)}
        found = level_statistics(dense, mfrm.SparseRatings(*columns, labels=labels))
    for facet in NAMES:
        expected = getattr(about, facet)
        for name in ("infit", "infit_zstd", "outfit", "outfit_zstd", "count", "score", "expected"):
            np.testing.assert_allclose(
                getattr(found[facet], name), getattr(expected.statistics, name), atol=1e-8
            )
        np.testing.assert_allclose(found[facet].fair, expected.fair_average, atol=1e-8)


def test_more_cells_than_numbers_of_32_bits_are_refused():
    refuse_sparse((2**16, 2**15 - 1, 3, 2), 10, 0)
    with pytest.raises(ValueError, match=r"65,536 \(model\) x 32,768 \(question\).*2,147,483,648 "):
        refuse_sparse((2**16, 2**15, 3, 2), 10, 0)
