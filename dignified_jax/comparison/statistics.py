"""Means over seeds with Student-t intervals, and paired differences.

Seeds change the order of the rows and the validation split, not the test rows or the first
weights: an interval speaks of another training run, not of another test set.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its interval of `CONFIDENCE`.

    Attributes:
      mean: of the values.
      half: the interval is mean - half to mean + half; NaN for a single value.
      count: number of values.
    """

    mean: float
    half: float
    count: int


@dataclasses.dataclass(frozen=True)
class Paired(Interval):
    """The same of differences, with the two-sided p-value of the paired t test.

    Attributes:
      p: NaN for a single difference, and where all differences are the same.
    """

    p: float

    @property
    def clear(self) -> bool:
        """True where the interval leaves 0 out."""
        return abs(self.mean) > self.half


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean +- t s / sqrt(n), s with n - 1 degrees of freedom.

    Raises:
      ValueError: no values.
    """
    mean, error, count = _moments(values)
    return Interval(mean, _half(error, count), count)


def paired_interval(left: Sequence[float], right: Sequence[float]) -> Paired:
    """The interval and paired t test of left - right, whose entries belong together.

    Raises:
      ValueError: no values, or not equally many.
    """
    mean, error, count = _moments([a - b for a, b in zip(left, right, strict=True)])
    testable = count > 1 and error > 0
    p = 1.0 - t_within(abs(mean) / error, count - 1) if testable else math.nan
    return Paired(mean, _half(error, count), count, p)


def _moments(values: Sequence[float]) -> tuple[float, float, int]:
    """(mean, its standard error, count)."""
    if not len(values):
        raise ValueError("expected at least one value, found none")
    array = np.asarray(values, np.float64)
    error = array.std(ddof=1) / math.sqrt(len(array)) if len(array) > 1 else math.nan
    return float(array.mean()), float(error), len(array)


def _half(error: float, count: int) -> float:
    return t_quantile(CONFIDENCE, count - 1) * error if count > 1 else math.nan


def t_within(t: float, freedom: int) -> float:
    """P(|T| <= t) of Student's t with a whole number of degrees of freedom.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total


def t_quantile(confidence: float, freedom: int) -> float:
    """t with P(|T| <= t) = confidence, by bisection of the angle atan(t / sqrt(freedom)).

    Raises:
      ValueError: confidence outside (0, 1), or no degree of freedom.
    """
    if not 0 < confidence < 1 or freedom < 1:
        raise ValueError(
            f"expected a confidence in (0, 1) and at least 1 degree of freedom, found "
            f"{confidence} and {freedom}"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # far below a double's spacing
        middle = (low + high) / 2
        if t_within(math.sqrt(freedom) * math.tan(middle), freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)
