"""Rank correlations against SciPy's, ties included."""

import numpy as np
import pytest
import scipy.stats

from dignified_jax.mfrm.diagnostics.sensitivity import kendall, mean_ranks, spearman


@pytest.mark.parametrize("seed", range(5))
def test_equal_scipy(seed):
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 6, 15).astype(float)  # many ties
    other = one + rng.integers(-2, 3, 15)
    np.testing.assert_allclose(kendall(one, other), scipy.stats.kendalltau(one, other).statistic)
    np.testing.assert_allclose(spearman(one, other), scipy.stats.spearmanr(one, other).statistic)
    np.testing.assert_allclose(mean_ranks(one), scipy.stats.rankdata(one))


def test_infinite_missing_and_constant():
    one = np.array([np.inf, 2.0, np.nan, 1.0, -np.inf])
    assert kendall(one, np.array([4.0, 3.0, 9.0, 2.0, 1.0])) == 1.0
    assert spearman(one, -np.array([4.0, 3.0, 9.0, 2.0, 1.0])) == -1.0
    assert np.isnan(kendall(np.ones(3), np.arange(3.0)))
    assert np.isnan(spearman(np.arange(3.0), np.ones(3)))
    with pytest.raises(ValueError, match="equally long"):
        kendall(np.ones(3), np.ones(2))
