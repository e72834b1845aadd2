"""Linear CKA between two models' states, from minibatches.

    CKA = sum_b H(K_b, L_b) / sqrt(sum_b H(K_b, K_b) sum_b H(L_b, L_b))      K = X X^T, L = Y Y^T

H is the unbiased estimator of HSIC (Song et al., "Feature Selection via Dependence Maximization",
2012); its minibatches need no matrix as wide as the states, and no more memory for more texts
(Nguyen, Raghu & Kornblith, "Do Wide and Deep Networks Learn the Same Things?", 2021).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

FEWEST = 4  # texts of a minibatch, without which H is not defined


def hsic(
    x: Float[np.ndarray, "text width"], y: Float[np.ndarray, "text width"]
) -> tuple[float, float, float]:
    """Returns the unbiased HSIC of x with y, of x with itself and of y with itself."""
    n = len(x)
    grams = []
    for states in (x, y):
        # The estimator does not see the mean; without it float64 has digits for the rest.
        centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
        gram = centred @ centred.T
        np.fill_diagonal(gram, 0.0)
        grams.append(gram)

    def of(k: np.ndarray, m: np.ndarray) -> float:
        sums = k.sum(axis=0), m.sum(axis=0)
        within = sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2))
        return float((np.sum(k * m) + within - 2 / (n - 2) * (sums[0] @ sums[1])) / (n * (n - 3)))

    k, m = grams
    return of(k, m), of(k, k), of(m, m)


@dataclasses.dataclass
class CkaSums:
    """HSIC of all minibatches so far, a few numbers of each.

    Attributes:
      parts: of each minibatch (layer, 3): across, of the first model, of the second.
    """

    parts: list[np.ndarray] = dataclasses.field(default_factory=list)

    def add(
        self, x: Float[np.ndarray, "text layer width"], y: Float[np.ndarray, "text layer width"]
    ) -> None:
        """Takes a minibatch of at least `FEWEST` texts; a smaller one is left out."""
        if len(x) >= FEWEST:
            self.parts.append(np.array([hsic(x[:, n], y[:, n]) for n in range(x.shape[1])]))

    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns CKA of each layer and its standard error by a jackknife over minibatches.

        Both (layer,); the error is NaN with fewer than two minibatches.
        """
        parts = np.array(self.parts)
        whole = _ratio(parts.sum(axis=0))
        count = len(parts)
        if count < 2:
            return whole, np.full_like(whole, np.nan)
        left = _ratio(parts.sum(axis=0) - parts)
        spread = np.sum((left - left.mean(axis=0)) ** 2, axis=0)
        return whole, np.sqrt((count - 1) / count * spread)


def _ratio(sums: np.ndarray) -> np.ndarray:
    across, first, second = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return across / np.sqrt(first * second)
