"""Student's t and paired intervals against SciPy, and against a printed table."""

import math

import numpy as np
import pytest
from scipy import stats

from dignified_jax.comparison.statistics import (
    mean_interval,
    paired_interval,
    t_quantile,
    t_within,
)

RNG = np.random.default_rng(3)
LEFT, RIGHT = RNG.normal(0.6, 0.05, 7), RNG.normal(0.58, 0.05, 7)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 9, 30, 59])
def test_t_equals_scipys(freedom):
    """Probabilities 1e-14, quantiles 1e-12 relative."""
    for t in (0.0, 0.1, 1.0, 2.5, 7.0, 50.0):
        assert t_within(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=1e-14)
    for confidence in (0.5, 0.9, 0.95, 0.99):
        expected = stats.t.ppf((1 + confidence) / 2, freedom)
        assert t_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-12)


def test_t_is_that_of_the_tables():
    found = [round(t_quantile(0.95, freedom), 3) for freedom in (1, 2, 3, 4, 9)]
    assert found == [12.706, 4.303, 3.182, 2.776, 2.262]


def test_an_interval_by_hand():
    """1, 2, 6: mean 3, standard deviation sqrt(7)."""
    found = mean_interval([1.0, 2.0, 6.0])
    assert (found.mean, found.count) == (3.0, 3)
    assert found.half == pytest.approx(4.3026527297 * math.sqrt(7 / 3), rel=1e-10)


def test_intervals_equal_scipys():
    found = mean_interval(LEFT)
    low, high = stats.t.interval(0.95, len(LEFT) - 1, LEFT.mean(), stats.sem(LEFT))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_paired_differences_equal_scipys():
    found = paired_interval(LEFT, RIGHT)
    test = stats.ttest_rel(LEFT, RIGHT)
    low, high = test.confidence_interval(0.95)
    assert found.mean - found.half == pytest.approx(low, rel=1e-12)
    assert found.mean + found.half == pytest.approx(high, rel=1e-12)
    assert found.p == pytest.approx(test.pvalue, rel=1e-10)
    assert found.clear == (test.pvalue < 0.05)
    assert paired_interval(RIGHT, LEFT).mean == -found.mean


def test_clear_is_what_leaves_zero_out():
    assert paired_interval([1.0, 1.1, 0.9], [0.0, 0.0, 0.0]).clear
    assert not paired_interval([1.0, -1.1, 0.9], [0.0, 0.0, 0.0]).clear
    assert not paired_interval([1.0], [0.0]).clear


def test_one_seed_has_no_interval():
    found = paired_interval([0.5], [0.25])
    assert found.mean == 0.25
    assert math.isnan(found.half) and math.isnan(found.p)
    assert math.isnan(mean_interval([0.5]).half)


def test_equal_differences_have_an_interval_but_no_test():
    found = paired_interval([1.0, 2.0], [0.5, 1.5])
    assert (found.mean, found.half) == (0.5, 0.0)
    assert math.isnan(found.p)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one value, found none"):
        mean_interval([])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired_interval([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"found 1\.0 and 3"):
        t_quantile(1.0, 3)
    with pytest.raises(ValueError, match=r"found 0\.95 and 0"):
        t_quantile(0.95, 0)
