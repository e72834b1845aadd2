"""Contrasts of pairs of models: how far apart their scores are, and how surely.

The difference of two scores has the variance V_aa + V_bb - 2 V_ab, with V the covariance of the
scores; p is two-sided and normal. Of many pairs some differ by chance: q is the false discovery
rate of Benjamini & Hochberg (1995), and `holm` the p-value that keeps the chance of any false
alarm below the level (Holm, 1979).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from dignified_jax.mfrm.diagnostics.interactions import false_discovery_rate
from dignified_jax.mfrm.result import Fit


@dataclasses.dataclass(frozen=True)
class Contrasts:
    """N pairs of models of finite score.

    Attributes:
      first: (N,) models, by number.
      second: (N,).
      difference: (N,) score of the first less that of the second, in logits.
      standard_error: (N,).
      z: (N,) difference / standard error.
      p: (N,) two-sided.
      q: (N,) false discovery rate at which the pair would just be reported.
      holm: (N,) p-values corrected for all pairs.
    """

    first: np.ndarray
    second: np.ndarray
    difference: np.ndarray
    standard_error: np.ndarray
    z: np.ndarray
    p: np.ndarray
    q: np.ndarray
    holm: np.ndarray


def contrasts(fit: Fit, covariance: np.ndarray | None = None) -> Contrasts:
    """All pairs of models with finite scores.

    Args:
      fit: with its scores.
      covariance: (M, M) of the scores; None for the fit's, whose questions are fixed. Give that of
        `bootstrap` for questions drawn anew.
    """
    score = np.asarray(fit.score, float)
    shared = np.asarray(fit.score_covariance if covariance is None else covariance, float)
    known = np.flatnonzero(np.isfinite(score) & np.isfinite(np.diag(shared)))
    one, other = (known[places] for places in np.triu_indices(known.size, 1))
    difference = score[one] - score[other]
    variance = shared[one, one] + shared[other, other] - 2.0 * shared[one, other]
    error = np.sqrt(np.maximum(variance, 0.0))
    z = np.divide(difference, error, out=np.full(error.shape, np.nan), where=error > 0)
    p = np.array([math.erfc(abs(value) / math.sqrt(2.0)) for value in z])
    return Contrasts(
        first=one,
        second=other,
        difference=difference,
        standard_error=error,
        z=z,
        p=p,
        q=np.asarray(false_discovery_rate(p), float) if p.size else p,
        holm=_holm(p),
    )


def _holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for all that are known, NaN where unknown."""
    order = np.argsort(p, kind="stable")  # NaN last
    tests = int(np.isfinite(p).sum())
    factors = np.maximum(tests - np.arange(p.size), 1)
    found = np.empty(p.size)
    found[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return np.where(np.isfinite(p), found, np.nan)
