"""Persona vectors: mean differences of residual-stream states between two poles of a persona.

    v_l = mean over pairs of (h_l(positive) - h_l(negative))        l a layer

The poles of a pair share their topic, which cancels. (Chen et al., "Persona Vectors", 2025; the
neutral baseline is that of "Dual Optimal", 2026, appendix E.)
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float32, Int

from dignified_jax.analysis import separation
from dignified_jax.analysis.separation import Estimate, PoleSeparation
from dignified_jax.models.checkpoint.vector_file import PersonaVector


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Numbers that speak for a vector, layer by layer.

    Attributes:
      reliability: cosine of the vectors of two halves of the groups.
      separation: of held-out pairs.
      opposite: (layer,) cosine between toward and -away; 1 where the neutral baseline lies
        between the poles.
      projections: (pole, layer) mean of the states along the unit vector, by `contrasts.POLES`.
      spread: (layer,) standard deviation of the neutral ones there.
    """

    reliability: Estimate
    separation: PoleSeparation
    opposite: np.ndarray
    projections: np.ndarray
    spread: np.ndarray


def extract(
    name: str,
    states: Float32[np.ndarray, "pair pole layer width"],
    groups: Int[np.ndarray, " pair"],
    seed: int = 0,
) -> tuple[PersonaVector, Evidence]:
    """Makes a vector of states, with the layer of the best held-out separation.

    Args:
      name: of the dimension.
      states: by `contrasts.POLES`: positive, negative, neutral.
      groups: of each pair, at least two different ones; see `separation`.
      seed: of splits, folds and bootstrap.

    Raises:
      ValueError: fewer groups, or a state is not finite.
    """
    if len(np.unique(groups)) < 2:
        raise ValueError(f"{name}: expected pairs of at least two groups, found one")
    if not np.isfinite(states).all():
        raise ValueError(f"{name}: a state of the model is not finite")
    means = states.mean(axis=0, dtype=np.float64).astype(np.float32)
    positive, negative = states[:, 0], states[:, 1]
    separated = separation.held_out(positive, negative, groups, seed)
    toward, away = means[0] - means[2], means[1] - means[2]
    layer = separation.choose_layer(separated)
    vector = PersonaVector(name, means[0] - means[1], toward, away, layer)
    along = np.einsum("pklw,lw->pkl", states, vector.unit)
    evidence = Evidence(
        reliability=separation.split_half(positive - negative, groups, seed),
        separation=separated,
        opposite=cosine(toward, -away),
        projections=along.mean(axis=0),
        spread=along[:, 2].std(axis=0),
    )
    return vector, evidence


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the cosine over the last axis; 0 where one has no length."""
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    products = np.asarray(np.sum(x * y, axis=-1), np.float64)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
