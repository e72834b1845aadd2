"""Intervals of proportions."""

from __future__ import annotations

import math

_Z = 1.959963984540054  # of 95%


def wilson(count: int, total: int) -> tuple[float, float]:
    """Returns the 95% score interval of `count` successes in `total` trials.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927).
    """
    share, spread = count / total, _Z**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    # At the ends the bound is the share itself, which rounding misses by some 1e-18.
    return (0.0 if count == 0 else middle - half), (1.0 if count == total else middle + half)
