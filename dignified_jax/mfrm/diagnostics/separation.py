"""How well the levels of a facet are told apart.

With L measures d_l of standard errors s_l,

    RMSE^2 = mean s_l^2    S^2 = sum (d - mean d)^2 / L    T^2 = max(S^2 - RMSE^2, 0)
    separation G = T / RMSE    reliability R = T^2 / S^2 = G^2 / (1 + G^2)    strata (4 G + 1) / 3

(Wright & Masters, "Rating Scale Analysis" (1982), pages 91-93, 105-106; FACETS, Table 7, for the
levels at hand.) Of severities, the reliability is that of being DIFFERENT, not of agreement.
Measures that a strong prior has shrunk are spread less than the truth, and look less reliable.

The fixed chi-square tests that all measures are the same: sum w d^2 - (sum w d)^2 / sum w with
w = 1 / s^2 and L - 1 degrees of freedom (Hedges & Olkin, 1985; FACETS). It asks for independent
errors, but measures that sum to zero have errors that do so as well: theirs vary less, by (L - 1) /
L, which w is multiplied with. (Exact where all levels are equally well known; for two levels the
uncorrected statistic is twice what it should be.) Where the covariance of the errors is known, the
exact statistic is (C d)' (C V C')^-1 (C d) with contrasts C.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Separation:
    """Figures of one facet; scalars, NaN with fewer than two levels of estimated, finite measure.

    Attributes:
      levels: number of levels with an estimated, finite measure.
      mean: of their measures.
      deviation: S, their standard deviation (divided by L).
      rmse: root mean square standard error.
      true_deviation: T.
      separation: G.
      reliability: R.
      strata: statistically distinct groups of levels.
      chi_square: of the hypothesis that all measures are the same.
      degrees_of_freedom: of the chi-square.
      p: upper tail probability of the chi-square.
    """

    levels: jax.Array
    mean: jax.Array
    deviation: jax.Array
    rmse: jax.Array
    true_deviation: jax.Array
    separation: jax.Array
    reliability: jax.Array
    strata: jax.Array
    chi_square: jax.Array
    degrees_of_freedom: jax.Array
    p: jax.Array


def separation(measure: jax.Array, standard_error: jax.Array, chi_square: jax.Array) -> Separation:
    """The figures of a facet.

    Args:
      measure: (L,); levels of infinite, unknown or anchored measure are left out.
      standard_error: (L,).
      chi_square: scalar, from one of the functions below.
    """
    used = estimated(measure, standard_error)
    levels = used.sum()
    mean = xp.where(used, measure, 0.0).sum() / levels
    spread = xp.where(used, measure - mean, 0.0)
    spread = (spread**2).sum() / levels
    noise = xp.where(used, standard_error**2, 0.0).sum() / levels
    true = xp.maximum(spread - noise, 0.0)
    ratio = xp.sqrt(true / noise)
    figures = {
        "mean": mean,
        "deviation": xp.sqrt(spread),
        "rmse": xp.sqrt(noise),
        "true_deviation": xp.sqrt(true),
        "separation": ratio,
        "reliability": true / spread,
        "strata": (4.0 * ratio + 1.0) / 3.0,
        "chi_square": chi_square,
        "p": xp.chi_square_tail(chi_square, levels - 1.0),
    }
    figures = {name: xp.where(levels > 1, value, xp.nan) for name, value in figures.items()}
    return Separation(levels=levels, degrees_of_freedom=levels - 1, **figures)


def estimated(measure: jax.Array, standard_error: jax.Array) -> jax.Array:
    """(L,) bool: neither infinite nor unknown nor anchored."""
    return xp.isfinite(measure) & xp.isfinite(standard_error) & (standard_error > 0)


def independent_chi_square(
    measure: jax.Array, standard_error: jax.Array, *, zero_sum: bool
) -> jax.Array:
    """Scalar, from standard errors alone; `zero_sum`: whether the measures sum to zero."""
    used = estimated(measure, standard_error)
    weight = xp.where(used, standard_error**-2.0, 0.0)
    mean = xp.where(used, weight * measure, 0.0).sum() / weight.sum()
    chi_square = xp.where(used, weight * (measure - mean) ** 2, 0.0).sum()
    return chi_square * (1.0 - 1.0 / used.sum()) if zero_sum else chi_square


def exact_chi_square(
    measure: jax.Array, standard_error: jax.Array, covariance: jax.Array
) -> jax.Array:
    """Scalar, from the (L, L) covariance of the errors."""
    used = estimated(measure, standard_error)
    # Differences from the first used level; the others get a row of their own and add nothing.
    first = xp.argmax(used)
    compared = used & (xp.arange(used.size) != first)
    covariance = xp.where(used[:, None] & used, covariance, 0.0)
    difference = xp.where(compared, measure - measure[first], 0.0)
    rows = covariance - covariance[first]
    variance = rows - rows[:, first][:, None]
    pair = compared[:, None] & compared
    variance = xp.where(pair, variance, xp.eye(used.size, dtype=variance.dtype))
    return (xp.inverse_root(variance, difference[:, None]) ** 2).sum()
