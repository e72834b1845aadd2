"""Mean squares, correlations and their moments against loops over single observations."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dignified_jax.mfrm.diagnostics.expected_scores import binomial
from dignified_jax.mfrm.diagnostics.fit_statistics import fit_statistics, sums, wilson_hilferty

FACETS = ("model", "question", "judge", "rubric")


@functools.partial(jax.jit, static_argnames="axes")
def statistics(responses, axes):
    return fit_statistics(sums(responses, axes))


def moments_by_enumeration(trials, p):
    """Expectation, variance and fourth central moment of a binomial count."""
    counts = np.arange(trials + 1)
    weights = scipy.stats.binom.pmf(counts, trials, p)
    mean = (weights * counts).sum()
    return mean, (weights * (counts - mean) ** 2).sum(), (weights * (counts - mean) ** 4).sum()


def written_out(successes, trials, logit):
    """FitStatistics of some observations, one after the other."""
    rows = []
    for y, n, x in zip(successes, trials, logit, strict=True):
        if n > 0:
            rows.append((y, n, x, *moments_by_enumeration(int(n), 1 / (1 + math.exp(-x)))))
    square = sum((y - e) ** 2 for y, n, x, e, w, c in rows)
    information = sum(w for y, n, x, e, w, c in rows)
    infit = square / information
    outfit = sum((y - e) ** 2 / w for y, n, x, e, w, c in rows) / len(rows)
    infit_deviation = math.sqrt(sum(c - w**2 for y, n, x, e, w, c in rows)) / information
    outfit_deviation = math.sqrt(sum(c / w**2 - 1 for y, n, x, e, w, c in rows)) / len(rows)

    def standardised(value, deviation):
        return (value ** (1 / 3) - 1) * 3 / deviation + deviation / 3

    total = sum(n for y, n, *_ in rows)
    score_mean = sum(y for y, *_ in rows) / total
    expected_mean = sum(e for y, n, x, e, w, c in rows) / total
    measure_mean = sum(n * x for y, n, x, e, w, c in rows) / total
    sums = dict.fromkeys(("xx", "xm", "mm", "ee", "em", "w"), 0.0)
    for y, n, x, e, w, _ in rows:
        a, b, m = y / n - score_mean, e / n - expected_mean, x - measure_mean
        for name, value in (
            ("xx", a * a),
            ("xm", a * m),
            ("mm", m * m),
            ("ee", b * b),
            ("em", b * m),
            ("w", w / n**2),
        ):
            sums[name] += n * value
    return {
        "count": total,
        "observed": sum(y for y, *_ in rows),
        "expected": sum(e for y, n, x, e, w, c in rows),
        "infit": infit,
        "infit_zstd": standardised(infit, infit_deviation),
        "outfit": outfit,
        "outfit_zstd": standardised(outfit, outfit_deviation),
        "correlation": sums["xm"] / math.sqrt(sums["xx"] * sums["mm"]),
        "expected_correlation": sums["em"] / math.sqrt((sums["ee"] + sums["w"]) * sums["mm"]),
    }


def assert_written_out(found, index, select, arrays):
    for name, value in written_out(*(array[select].ravel() for array in arrays)).items():
        np.testing.assert_allclose(
            np.asarray(getattr(found, name))[index], value, rtol=1e-9, atol=1e-9, err_msg=name
        )


def test_levels_and_cells_equal_loops(plan):
    rng = np.random.default_rng(0)
    arrays = (*plan, rng.normal(scale=2.0, size=plan[0].shape))
    with jax.enable_x64(True):
        responses = binomial(*(jnp.asarray(array, jnp.float64) for array in arrays))
        by_judge = statistics(responses, (0, 1, 3))
        cells = statistics(responses, (2, 3))
    for judge in range(3):
        assert_written_out(by_judge, judge, (slice(None), slice(None), judge), arrays)
    for cell in itertools.product(range(4), range(8)):
        if len(set((plan[0][cell] / plan[1][cell])[plan[1][cell] > 0])) > 1:
            assert_written_out(cells, cell, cell, arrays)


def test_moments_of_extreme_logits():
    """Where p and 1 - p can't be told from 0 and 1, in float32."""
    logit = np.array([-40.0, -20.0, 20.0, 40.0], np.float32)
    responses = binomial(np.ones(4, np.float32), np.ones(4, np.float32), logit)
    exact = logit.astype(float)
    np.testing.assert_allclose(responses.residual, 1 / (1 + np.exp(exact)), rtol=1e-5)
    np.testing.assert_allclose(
        responses.variance, 1 / (1 + np.exp(exact)) / (1 + np.exp(-exact)), rtol=1e-5
    )


def test_no_ratings_and_no_variance_give_nan():
    with jax.enable_x64(True):
        shape = (2, 2, 1, 1)
        trials = jnp.array([1.0, 1.0, 0.0, 0.0]).reshape(shape)
        logit = jnp.array([jnp.inf, 0.5, 0.0, 0.0]).reshape(shape)
        found = statistics(binomial(trials, trials, logit), (1, 2, 3))
    assert np.isnan(found.infit[1]) and np.isnan(found.outfit_zstd[1])
    assert found.count.tolist() == [2.0, 0.0]
    # The infinite logit explains its rating fully: in the sums, not in the mean squares.
    np.testing.assert_allclose(found.expected[0], 1 + 1 / (1 + np.exp(-0.5)))
    np.testing.assert_allclose(found.infit[0], np.exp(-0.5), rtol=1e-12)


@pytest.mark.parametrize("trials", [1, 4])
def test_standardised_mean_squares_are_standard_normal(trials):
    """Of ratings whose true logits are known: 400 replicates of 300 observations."""
    rng = np.random.default_rng(1)
    logit = rng.normal(size=300)
    n = np.full((400, 300), float(trials))
    y = rng.binomial(trials, 1 / (1 + np.exp(-logit)), size=n.shape)
    with jax.enable_x64(True):
        r = binomial(jnp.asarray(y, float), jnp.asarray(n), jnp.broadcast_to(logit, n.shape))
        found = jax.tree.map(np.asarray, statistics(r, (1,)))
    np.testing.assert_allclose([found.infit.mean(), found.outfit.mean()], 1.0, atol=0.02)
    for z in (found.infit_zstd, found.outfit_zstd):
        assert abs(z.mean()) < 4 / np.sqrt(400) and abs(z.std() - 1) < 4 / np.sqrt(800)


def test_wilson_hilferty_of_chi_squares():
    """A chi-square over its degrees of freedom: quantiles become the normal's."""
    tails = np.array([0.01, 0.2, 0.5, 0.8, 0.99])
    mean_square = scipy.stats.chi2.ppf(tails, 30) / 30
    with jax.enable_x64(True):
        found = wilson_hilferty(jnp.asarray(mean_square), jnp.asarray(2 / 30))
    np.testing.assert_allclose(found, scipy.stats.norm.ppf(tails), atol=0.01)
    assert np.isnan(wilson_hilferty(jnp.float32(1.0), jnp.float32(0.0)))
