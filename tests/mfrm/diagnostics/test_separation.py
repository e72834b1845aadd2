"""Separation, reliability and the fixed chi-square against hand numbers and dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dignified_jax.mfrm.diagnostics.separation import (
    exact_chi_square,
    independent_chi_square,
    separation,
)

LONGEST = 8


@jax.jit
def _figures(measure, error, covariance):
    """By each of the three chi-squares; jitted, so that it compiles once."""
    chi_squares = {
        "plain": independent_chi_square(measure, error, zero_sum=False),
        "zero_sum": independent_chi_square(measure, error, zero_sum=True),
        "exact": exact_chi_square(measure, error, covariance),
    }
    return {name: separation(measure, error, value) for name, value in chi_squares.items()}


def figures(measure, error, covariance=None, kind="plain"):
    """Filled up with unknown levels, which are left out, to one length."""
    size = len(measure)
    known = np.full((LONGEST, LONGEST), np.nan)
    known[:size, :size] = np.diag(np.square(error)) if covariance is None else covariance
    padded = [
        np.pad(np.asarray(v, float), (0, LONGEST - size), constant_values=np.nan)
        for v in (measure, error)
    ]
    with jax.enable_x64(True):
        found = _figures(*map(jnp.asarray, padded), jnp.asarray(known))
        return jax.tree.map(np.asarray, found[kind])


def test_by_hand():
    """Measures -1, 0, 1 with errors 0.5: S^2 = 2/3, RMSE^2 = 1/4, T^2 = 5/12."""
    found = figures([-1.0, 0.0, 1.0], [0.5] * 3)
    np.testing.assert_allclose(found.separation, np.sqrt(5 / 3))
    np.testing.assert_allclose(found.reliability, 5 / 8)
    np.testing.assert_allclose(found.strata, (4 * np.sqrt(5 / 3) + 1) / 3)
    np.testing.assert_allclose(found.chi_square, 8.0)
    np.testing.assert_allclose(found.p, scipy.stats.chi2.sf(8.0, 2))
    assert found.levels == 3 and found.degrees_of_freedom == 2
    np.testing.assert_allclose(found.reliability, found.separation**2 / (1 + found.separation**2))


def test_unequal_errors():
    measure, error = np.array([0.3, -0.4, 1.2, 0.1]), np.array([0.2, 0.5, 0.3, 0.4])
    weight = error**-2.0
    expected = (weight * measure**2).sum() - (weight * measure).sum() ** 2 / weight.sum()
    np.testing.assert_allclose(figures(measure, error).chi_square, expected)


def test_zero_sum_of_equally_known_levels_is_exact():
    """Errors s (I - 1/L) of independent s: the exact statistic is sum d^2 / s^2."""
    for levels in (2, 5):
        measure = np.random.default_rng(levels).normal(size=levels)
        measure -= measure.mean()
        covariance = 0.09 * (np.eye(levels) - 1 / levels)
        error = np.sqrt(np.diag(covariance))
        exact = (measure**2).sum() / 0.09
        found = figures(measure, error, kind="zero_sum")
        np.testing.assert_allclose(found.chi_square, exact)
        np.testing.assert_allclose(figures(measure, error, covariance, "exact").chi_square, exact)
        np.testing.assert_allclose(found.p, scipy.stats.chi2.sf(exact, levels - 1))


def test_exact_chi_square_equals_contrasts():
    rng = np.random.default_rng(3)
    measure, root = rng.normal(size=5), rng.normal(size=(5, 5))
    covariance = root @ root.T
    contrast = np.eye(4, 5) - np.eye(4, 5, k=1)
    difference = contrast @ measure
    expected = difference @ np.linalg.solve(contrast @ covariance @ contrast.T, difference)
    error = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(figures(measure, error, covariance, "exact").chi_square, expected)
    # A level of infinite measure changes nothing, wherever it stands.
    wider = np.zeros((6, 6))
    wider[1:, 1:] = covariance
    wider[0, 0] = np.inf
    found = figures([np.inf, *measure], [np.inf, *error], wider, "exact")
    np.testing.assert_allclose(found.chi_square, expected)
    assert found.levels == 5
    plain = figures(measure, error)
    np.testing.assert_allclose(
        figures([*measure, 9.0], [*error, 0.0]).reliability, plain.reliability
    )


def test_no_more_spread_than_error_and_too_few_levels():
    found = figures([0.1, -0.1, 0.05], [1.0, 1.0, 1.0])
    assert found.separation == 0 and found.reliability == 0 and found.p > 0.9
    lonely = figures([0.0], [0.0])
    assert np.isnan(lonely.reliability) and np.isnan(lonely.p) and lonely.levels == 0
