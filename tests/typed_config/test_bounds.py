"""Intervals: which numbers are inside, and what is said of those that are not."""

import math

import pytest

from dignified_jax.typed_config import Bounds, Count, Seed
from dignified_jax.typed_config.bounds import find_bounds


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5, 1 - 1e-16), (-1e-300, 1, 2, math.inf, -math.inf, math.nan)),
        ("(0, inf)", (1e-300, 1e300), (0, -1, math.inf, math.nan)),
        ("(0, inf]", (1e-300, math.inf), (0, math.nan)),
        ("[1, 10]", (1, 10), (0, 11, 10**5000, -(10**5000))),
    ],
)
def test_what_is_inside(interval, inside, outside):
    bounds = Bounds(interval)
    assert [bounds.problem(value) for value in inside] == [""] * len(inside)
    assert all(bounds.problem(value) for value in outside)


@pytest.mark.parametrize(
    ("interval", "value", "problem", "text"),
    [
        ("[0, 1)", 1, "below 1", "at least 0, below 1"),
        ("[0, 1]", 2, "at most 1", "0 to 1"),
        ("(0, inf)", 0, "positive", "positive"),
        ("(0, inf)", math.inf, "finite", "positive"),
        ("(2, 3)", 2, "above 2", "above 2, below 3"),
        ("[0, 0.5]", 1, "at most 0.5", "0 to 0.5"),
        ("[0, inf)", math.nan, "a number", "at least 0"),
        ("[1, 2147483647]", 2**31, "at most 2147483647", "at least 1"),
    ],
)
def test_words(interval, value, problem, text):
    assert (Bounds(interval).problem(value), str(Bounds(interval))) == (problem, text)


def test_bounds_are_found_in_optional_types_and_tuples():
    assert find_bounds(Count | None) == find_bounds(tuple[Count, ...]) == find_bounds(Count)
    assert find_bounds(Seed).ends == (0, 2**32 - 1)
    assert find_bounds(int) is find_bounds(tuple[str, ...]) is None
