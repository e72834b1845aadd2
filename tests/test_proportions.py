"""Intervals of proportions."""

import pytest
from scipy.stats import binomtest

from dignified_jax.proportions import wilson


@pytest.mark.parametrize("total", [1, 4, 50, 100, 7919])
def test_intervals_are_those_of_scipy_and_end_at_0_and_1(total):
    for count in sorted({0, 1, total // 3, total - 1, total}):
        expected = binomtest(count, total).proportion_ci(method="wilson")
        assert wilson(count, total) == pytest.approx(tuple(expected), rel=1e-12, abs=1e-15)
    assert wilson(0, total)[0] == 0.0
    assert wilson(total, total)[1] == 1.0
