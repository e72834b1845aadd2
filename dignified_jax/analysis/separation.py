"""How well a direction tells two poles apart, and how far it depends on the pairs it comes from."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

States = Float[np.ndarray, "pair layer width"]
FOLDS, SPLITS, REPLICATES = 5, 100, 1000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number for each layer with a 95% interval, all (layer,).

    Attributes:
      value: the estimate.
      low, high: ends of the interval.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclasses.dataclass(frozen=True)
class PoleSeparation:
    """How well projections of pairs that a direction was not made from tell the poles apart.

    Attributes:
      auroc: probability that a positive one is above a negative one; 0.5 is chance.
      effect: (layer,) difference of the poles' means over their pooled standard deviation.
    """

    auroc: Estimate
    effect: np.ndarray


def split_half(
    differences: States, groups: Int[np.ndarray, " pair"], seed: int = 0, splits: int = SPLITS
) -> Estimate:
    """Returns the cosine between mean differences of two halves of the groups, over random splits.

    The value is the mean, the interval holds 95% of the splits.

    Args:
      differences: positive less negative states.
      groups: of each pair; all pairs of a group are in one half.
      seed: of the splits.
      splits: how many.
    """
    names, place = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    half = np.zeros((splits, len(names)))
    for row in half:
        row[rng.permutation(len(names))[: len(names) // 2]] = 1.0
    left = half[:, place]
    weights = np.stack([left, 1.0 - left])  # (half, split, pair)
    weights /= weights.sum(-1, keepdims=True)
    cosines = []
    for layer in range(differences.shape[1]):
        own = differences[:, layer].astype(np.float64)
        gram = own @ own.T
        first, second = weights
        across = np.einsum("sp,pq,sq->s", first, gram, second, optimize=True)
        norms = np.einsum("hsp,pq,hsq->hs", weights, gram, weights, optimize=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines.append(across / np.sqrt(norms[0] * norms[1]))
    found = np.nan_to_num(np.array(cosines))  # states that never differ have no direction: 0
    return _estimate(found.mean(1), found)


def held_out(
    positive: States,
    negative: States,
    groups: Int[np.ndarray, " pair"],
    seed: int = 0,
    folds: int = FOLDS,
    replicates: int = REPLICATES,
) -> PoleSeparation:
    """Separation by cross-validation over groups, its interval by a bootstrap over them.

    Args:
      positive, negative: states of the poles.
      groups: of each pair; pairs of a group are left out together.
      seed: of folds and bootstrap.
      folds: at most; with fewer groups, one group at a time.
      replicates: of the bootstrap.
    """
    names, place = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(names)) % min(folds, len(names))
    projected = np.empty((2, *positive.shape[:2]))  # (pole, pair, layer)
    for number in range(fold.max() + 1):
        out = fold[place] == number
        means = [pole[~out].mean(0, dtype=np.float64) for pole in (positive, negative)]
        direction, middle = means[0] - means[1], (means[0] + means[1]) / 2
        length = np.linalg.norm(direction, axis=-1, keepdims=True)
        unit = np.divide(direction, length, out=np.zeros_like(direction), where=length > 0)
        for pole, states in enumerate((positive, negative)):
            projected[pole, out] = np.einsum("plw,lw->pl", states[out] - middle, unit)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), replicates)
    weights = draws[:, place].astype(np.float64)
    values, sampled = [], []
    for layer in range(positive.shape[1]):
        high, low = projected[:, :, layer]
        above = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        values.append(above.mean())
        counts = np.einsum("rp,pq,rq->r", weights, above, weights, optimize=True)
        sampled.append(counts / weights.sum(1) ** 2)
    spread = np.sqrt(projected.var(axis=1, ddof=1).mean(0))
    gap = projected[0].mean(0) - projected[1].mean(0)
    effect = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)
    return PoleSeparation(_estimate(np.array(values), np.array(sampled)), effect)


def choose_layer(found: PoleSeparation) -> int:
    """Returns the layer of the best AUROC; of several, the first whose effect is within 5% of the
    largest among them, so that most layers are left to act on what is added there."""
    best = np.flatnonzero(found.auroc.value >= found.auroc.value.max() - 1e-9)
    effects = found.effect[best]
    return int(best[np.argmax(effects >= 0.95 * effects.max())])


def _estimate(value: np.ndarray, sampled: np.ndarray) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    return Estimate(value, *np.quantile(sampled, [tail, 1 - tail], axis=1))
