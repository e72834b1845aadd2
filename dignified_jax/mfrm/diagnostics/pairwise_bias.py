"""Pairwise bias: do two judges treat a model differently? (FACETS, Table 14.)

Of a target (a model) and two contexts (judges), with the biases of both from `interactions`,

    contrast = bias of the first - bias of the second      joint S.E. = root of the sum of squares
    t = contrast / joint S.E.                              degrees of freedom n_1 + n_2 - 2

p is two-sided, by Student's distribution (Hill, 1970, CACM algorithm 395), and q the false
discovery rate over all contrasts. Pairs without a finite bias have none.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.interactions import Interactions, false_discovery_rate


@dataclasses.dataclass(frozen=True)
class PairwiseBias:
    """N contrasts, the largest |t| first.

    Attributes:
      target: (N,) numbers of levels of the second facet.
      first: (N,) levels of the first facet, the contexts; likewise `second`.
      second: (N,).
      contrast: (N,) bias of the first less that of the second, in logits.
      standard_error: (N,) joint.
      t: (N,) contrast / standard error.
      degrees_of_freedom: (N,).
      p: (N,) two-sided.
      q: (N,) false discovery rate over all contrasts.
      total: number of all contrasts, listed or not.
    """

    target: np.ndarray
    first: np.ndarray
    second: np.ndarray
    contrast: np.ndarray
    standard_error: np.ndarray
    t: np.ndarray
    degrees_of_freedom: np.ndarray
    p: np.ndarray
    q: np.ndarray
    total: int


def pairwise_bias(found: Interactions, *, most: int = 1000) -> PairwiseBias:
    """Contrasts of the biases of every two rows, by column.

    Args:
      found: of two facets, contexts and targets, such as ("judge", "model").
      most: number of contrasts listed.
    """
    bias, error, count = (
        np.asarray(values, float) for values in (found.bias, found.standard_error, found.count)
    )
    first, second = np.triu_indices(len(bias), 1)
    known = np.isfinite(bias) & np.isfinite(error)
    place, target = np.nonzero(known[first] & known[second])
    first, second = first[place], second[place]
    contrast = bias[first, target] - bias[second, target]
    joint = np.hypot(error[first, target], error[second, target])
    freedom = np.maximum(count[first, target] + count[second, target] - 2.0, 1.0)
    t = contrast / joint
    p = student_tail(t, freedom)
    q = np.asarray(false_discovery_rate(p), float) if p.size else p
    order = np.argsort(-np.abs(t), kind="stable")[:most]
    columns = (target, first, second, contrast, joint, t, freedom, p, q)
    return PairwiseBias(*(values[order] for values in columns), total=t.size)


def student_tail(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """(N,) two-sided probabilities of Student's distribution, to about 1e-4."""
    size = np.abs(t)
    a = np.maximum(freedom, 3.0) - 0.5
    b = 48.0 * a**2
    z = np.sqrt(a * np.log1p(size**2 / np.maximum(freedom, 3.0)))
    more = (((4.0 * z**2 + 33.0) * z**2 + 240.0) * z**2 + 855.0) * z
    z = z + (z**3 + 3.0 * z) / b - more / (10.0 * b * (b + 0.8 * z**4 + 100.0))
    with xp.on_host(True):
        usual = 2.0 * np.asarray(xp.normal_tail(z), float)
    two = 1.0 - size / np.sqrt(2.0 + size**2)
    return np.where(
        freedom < 2, 1.0 - 2.0 / np.pi * np.arctan(size), np.where(freedom < 3, two, usual)
    )
