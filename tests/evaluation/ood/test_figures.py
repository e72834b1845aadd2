"""Intervals against SciPy and against the normal approximation."""

import numpy as np
import pytest
from scipy import stats

from dignified_jax.evaluation.ood import figures


@pytest.mark.parametrize(("count", "total"), [(0, 5), (3, 7), (50, 90), (12, 12)])
def test_wilson_equals_scipy(count, total):
    expected = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert figures.wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_rate_of_distinct_questions_has_wilsons_interval():
    found = figures.rate("r", [True, False, True, True], list("abcd"))
    assert (found.value, found.n, found.interval) == (0.75, 4, "wilson")
    assert (found.low, found.high) == figures.wilson(3, 4)


def test_questions_are_drawn_whole():
    """Ten equal values of each of 40 questions tell no more than one of each."""
    rng = np.random.default_rng(0)
    once = rng.normal(size=40)
    names = [str(number) for number in range(40)]
    few = figures.mean("m", once, names)
    many = figures.mean("m", np.repeat(once, 10), np.repeat(names, 10))
    half = 1.96 * once.std() / np.sqrt(40)
    for found in (few, many):
        assert found.value == pytest.approx(once.mean())
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert (few.n, many.n, many.interval) == (40, 400, "bootstrap")
    assert figures.rate("r", [True] * 4, ["a", "a", "b", "b"]).interval == "bootstrap"


def test_equal_questions_show_no_spread():
    found = figures.mean("m", [0.0, 0.0, 0.0], ["a", "b", "b"])
    assert found.value == 0 and np.isnan([found.low, found.high]).all()


def test_nothing_counted_is_not_a_number():
    assert np.isnan([figures.rate("r", [], []).value, figures.mean("m", [], []).low]).all()
    table = figures.tabulate("t", "title", [("m", [figures.rate("r", [], [])])])
    assert table.columns["n"] == [0] and table.columns["interval"] == ["wilson"]
