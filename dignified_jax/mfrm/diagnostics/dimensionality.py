"""Dimensionality: is there a pattern in the residuals, beyond the one dimension of the model?

For judges (or rubric items) as variables and answers as units, the standardised residual of a
variable on an answer is sum r / sqrt(sum W) over its ratings of it, 0 where it gave none. The
eigenvalues of the variables' correlations are in units of variables: the first contrast has the
strength of that many. (Linacre, Winsteps manual, "Dimensionality"; mfrmr, `analyze_residual_pca`.)

Even of ratings that follow the model the first eigenvalue is above 1, and more so as every answer's
quality was fitted to the same ratings, which makes residuals of an answer sum to about 0. The
reference is parallel analysis (Horn, 1965) of ratings drawn from the fitted model, whose residuals
lose what the answer's quality would take up of them, to first order and with theta of variance
1 / p drawn as well, as its estimate is drawn to 0:

    r - W (sum r - p theta) / (sum W + p)      sums over the answer's ratings
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import counts_of, fitted_responses
from dignified_jax.mfrm.diagnostics.scale import Scale
from dignified_jax.mfrm.result import MIXED, Fit

VARIABLES = ("judge", "rubric")
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Dimensionality:
    """Contrasts in the residuals of V variables over answers.

    Attributes:
      facet: "judge" or "rubric".
      answers: number of rated ones.
      eigenvalue: (V,) descending; they sum to V.
      reference: (V,) their means over ratings drawn from the model.
      reference_upper: (V,) their 95% quantiles.
      loading: (V,) correlations of the variables with the first contrast, the largest above 0.
    """

    facet: str
    answers: int
    eigenvalue: np.ndarray
    reference: np.ndarray
    reference_upper: np.ndarray
    loading: np.ndarray


def dimensionality(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    facet: str = "judge",
    replicates: int = 20,
    seed: int = 0,
) -> Dimensionality:
    """Principal components of the standardised residuals.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      facet: "judge" or "rubric", the variables.
      replicates: draws for the reference.
      seed: of the draws.

    Raises:
      ValueError: for another facet, fewer than 3 of its levels, ratings of another shape.
    """
    if facet not in VARIABLES:
        raise ValueError(f"facet must be one of {', '.join(VARIABLES)}, found {facet!r}")
    counts = counts_of(fit, successes, trials)
    axis = 2 + VARIABLES.index(facet)
    if counts[0].shape[axis] < 3:
        raise ValueError(f"dimensionality needs at least 3 levels of {facet}")
    found = fitted_responses(fit, counts)
    residual, variance = (np.asarray(a, float) for a in (found.residual, found.variance))
    # Levels with nothing but the highest scores, which a ridge keeps, do not vary.
    mixed = np.asarray(getattr(fit.extreme, facet)) == MIXED
    variance = variance * np.expand_dims(mixed, [a for a in range(4) if a != axis])
    own, vectors = _components(*_by_variable(residual, variance, axis))
    draw = _sampler(fit, *(np.asarray(a, float) for a in (found.measure, found.weight)), variance)
    rng = np.random.default_rng(seed)
    sampled = np.array(
        [_components(*_by_variable(draw(rng), variance, axis))[0] for _ in range(replicates)]
    )
    if not replicates:
        sampled = np.full((1, own.size), np.nan)
    first = vectors[:, -1] * np.sqrt(own[0])
    return Dimensionality(
        facet=facet,
        answers=int((variance.sum(axis=(2, 3)) > 0).sum()),
        eigenvalue=own,
        reference=sampled.mean(axis=0),
        reference_upper=np.quantile(sampled, LEVEL, axis=0),
        loading=first * np.sign(first[np.argmax(np.abs(first))] or 1.0),
    )


def _by_variable(
    residual: np.ndarray, variance: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """(answers, V) standardised residuals, 0 where there are none, and whether there are."""
    other = 5 - axis
    spread = variance.sum(axis=other)
    total = np.where(variance > 0, residual, 0.0).sum(axis=other)
    standard = np.divide(total, np.sqrt(spread), out=np.zeros_like(total), where=spread > 0)
    rated = spread > 0
    return (a.reshape(-1, a.shape[-1])[rated.any(axis=-1).ravel()] for a in (standard, rated))


def _components(values: np.ndarray, rated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the correlations, descending, and the vectors of the ascending ones."""
    number = np.maximum(rated.sum(axis=0), 1)
    centred = np.where(rated, values - values.sum(axis=0) / number, 0.0)
    size = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, size, out=np.zeros_like(centred), where=size > 0)
    correlation = scaled.T @ scaled
    np.fill_diagonal(correlation, 1.0)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    return eigenvalues[::-1], vectors


def _sampler(
    fit: Fit, measure: np.ndarray, weight: np.ndarray, variance: np.ndarray
) -> Callable[[np.random.Generator], np.ndarray]:
    """A function of a generator: (M, Q, J, I) residuals of ratings drawn from the model."""
    scale = Scale.of(fit)
    inside = (weight > 0) & (variance > 0)
    chance = scale.chances(np.where(inside, measure, 0.0))
    expected = weight * (chance * scale.rank).sum(axis=-1)
    ranks = np.broadcast_to(scale.rank, chance.shape)[inside]
    number, chance = weight[inside].astype(np.int64), chance[inside]
    precision = float(fit.precision.theta)
    share = variance.sum(axis=(2, 3), keepdims=True) + precision

    def draw(rng: np.random.Generator) -> np.ndarray:
        residual = np.zeros(weight.shape)
        residual[inside] = (rng.multinomial(number, chance) * ranks).sum(axis=-1)
        residual -= np.where(inside, expected, 0.0)
        pull = np.sqrt(precision) * rng.standard_normal(share.shape)
        return residual - variance * (residual.sum(axis=(2, 3), keepdims=True) - pull) / share

    return draw
