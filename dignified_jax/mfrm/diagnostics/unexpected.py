"""Unexpected responses: single ratings that the model is surprised by.

The standardised residual of an observation is (observed - expected) / sqrt(variance), with the
moments of `expected_scores`: beyond 3 either way it is rare (FACETS, Table 4). What is left of them
when the bias of pairs of levels is allowed for is FACETS' Table 10.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm.diagnostics.expected_scores import (
    category_values,
    counts_of,
    fitted_responses,
    logits,
    responses_at,
)
from dignified_jax.mfrm.diagnostics.interactions import Interactions
from dignified_jax.mfrm.result import FACETS, Fit


@dataclasses.dataclass(frozen=True)
class UnexpectedResponses:
    """N observations, the largest standardised residual first.

    Attributes:
      model: (N,) levels; likewise the next three.
      question: (N,).
      judge: (N,).
      rubric: (N,).
      judgments: (N,) numbers of judgments of the observation.
      observed: (N,) average scores.
      expected: (N,) average expected scores.
      residual: (N,) observed - expected.
      standardized: (N,) standardised residuals.
      least: the size from which a standardised residual is reported.
      total: how many reach it, listed or not.
      rated: number of observations with an expectation.
    """

    model: np.ndarray
    question: np.ndarray
    judge: np.ndarray
    rubric: np.ndarray
    judgments: np.ndarray
    observed: np.ndarray
    expected: np.ndarray
    residual: np.ndarray
    standardized: np.ndarray
    least: float
    total: int
    rated: int


def unexpected_responses(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    categories: Sequence[float] | None = None,
    bias: Mapping[tuple[str, str], Interactions] | None = None,
    least: float = 3.0,
    most: int = 1000,
) -> UnexpectedResponses:
    """Finds the ratings that the fit is surprised by.

    Args:
      fit, successes, trials, categories: as for `agreement.agreement`.
      bias: pair of facets -> its interactions, which are then expected (FACETS, Table 10).
      least: standardised residual, either way, from which a rating is unexpected.
      most: number of ratings listed.

    Raises:
      ValueError: for ratings of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    values = category_values(fit, categories)
    found = fitted_responses(fit, counts, values)
    if bias:
        logit = np.asarray(logits(fit), float) + _together(bias)
        found = responses_at(fit, counts, logit.astype(counts[0].dtype), values)
    variance = np.asarray(found.variance, float)
    known = variance > 0
    size = np.zeros(variance.shape)
    size[known] = np.asarray(found.residual, float)[known] / np.sqrt(variance[known])
    reported = np.flatnonzero((known & (np.abs(size) >= least)).ravel())
    order = reported[np.argsort(-np.abs(size.ravel()[reported]), kind="stable")][:most]
    number = np.asarray(found.weight, float).ravel()[order]
    observed = np.asarray(found.score, float).ravel()[order] / number
    expected = np.asarray(found.expected_score, float).ravel()[order] / number
    model, question, judge, rubric = np.unravel_index(order, variance.shape)
    return UnexpectedResponses(
        model=model,
        question=question,
        judge=judge,
        rubric=rubric,
        judgments=number,
        observed=observed,
        expected=expected,
        residual=observed - expected,
        standardized=size.ravel()[order],
        least=least,
        total=int(reported.size),
        rated=int(known.sum()),
    )


def _together(bias: Mapping[tuple[str, str], Interactions]) -> np.ndarray:
    """(M, Q, J, I) sums of the biases, of axes as far as they have; 0 where a pair is not rated."""
    total = np.zeros((1,) * len(FACETS))
    # The bias of models by judges is that of judges by models: it counts once.
    once = {frozenset(pair): (pair, found) for pair, found in bias.items()}
    for pair, found in once.values():
        axes = [FACETS.index(facet) for facet in pair]
        values = np.asarray(found.bias, float)
        values = np.where(np.isnan(values), 0.0, values)
        values = values if axes[0] < axes[1] else values.T
        shape = [1] * len(FACETS)
        for axis, size in zip(sorted(axes), values.shape, strict=True):
            shape[axis] = size
        total = total + values.reshape(shape)
    return total
