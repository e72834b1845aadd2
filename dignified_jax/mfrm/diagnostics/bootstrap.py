"""Bootstrap over questions: how scores vary from one sample of questions to another.

The standard errors of `fit` treat its questions as fixed: they say how well the scores ON THESE
QUESTIONS are known. Scores meant for all questions like them vary with the sample as well. Here
questions are drawn with replacement, with all their ratings, and everything is estimated anew
(Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13); a question drawn
twice is two questions, with a difficulty and thetas for each.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dignified_jax.mfrm.fit import fit
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.result import FACETS

# Ratings of the replicates that are fitted side by side: more gain nothing and take memory.
RATINGS_AT_ONCE = 2**21


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Of B replicates and M models, in logits.

    Attributes:
      score: (B, M) scores of the replicates, NaN where a fit failed; infinite where a model had
        only successes or only failures.
      standard_error: (M,) standard deviations over the replicates with finite scores of all models.
      covariance: (M, M), likewise.
      lower: (M,) percentile interval, over the replicates that did not fail.
      upper: (M,).
      level: its nominal coverage.
      failed: number of replicates whose fit did not converge.
      infinite: number of those that converged with an infinite score.
    """

    score: np.ndarray
    standard_error: np.ndarray
    covariance: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    level: float
    failed: int
    infinite: int


def bootstrap(
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    anchors: anchoring.Anchors | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Bootstrap:
    """Refits samples of the questions. The ratings are checked once, as `fit` does.

    Args:
      successes: (model, question, judge, rubric), as for `fit`.
      trials: as for `fit`.
      replicates: B.
      seed: of the samples.
      level: coverage of the percentile intervals.
      anchors: as for `fit`; questions keep theirs when drawn.
      progress: called with the numbers of replicates done and wanted, after every batch.
      options: of `fit`: center, method, precision, allow_disconnected, tolerance, max_iterations.

    Raises:
      ValueError: as `fit`; for fewer than 2 replicates or a level outside (0, 1).
    """
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, found {replicates}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, found {level}")
    successes, trials = rating_counts.as_counts(successes, trials)
    fit(successes, trials, anchors=anchors, **options)  # refuses what can't be fitted, by name
    sizes = dict(zip(FACETS, successes.shape, strict=True))
    fixed = anchoring.as_anchors(anchors, sizes, successes.dtype)
    fixed_options = {name: options[name] for name in ("center", "method") if name in options}
    numbers = {
        name: options[name]
        for name in ("precision", "tolerance", "max_iterations")
        if options.get(name) is not None
    }
    draws = samples(sizes["question"], replicates, seed)
    batch = max(1, min(replicates, RATINGS_AT_ONCE // successes.size))
    scores, converged = [], []
    for start in range(0, replicates, batch):
        drawn = draws[start : start + batch]
        # One shape, so one compilation: the last batch is filled up with repeats.
        filled = np.resize(drawn, (batch, drawn.shape[1]))
        score, done = _replicates(successes, trials, fixed, numbers, filled, **fixed_options)
        scores.append(np.asarray(score)[: len(drawn)])
        converged.append(np.asarray(done)[: len(drawn)])
        if progress is not None:
            progress(min(start + batch, replicates), replicates)
    return _summary(np.concatenate(scores), np.concatenate(converged), level)


def samples(questions: int, replicates: int, seed: int) -> np.ndarray:
    """(replicates, questions) int32 indices of the questions drawn."""
    return np.random.default_rng(seed).integers(
        questions, size=(replicates, questions), dtype=np.int32
    )


@functools.partial(jax.jit, static_argnames=("center", "method"))
def _replicates(
    successes: jax.Array,
    trials: jax.Array,
    fixed: dict[str, jax.Array],
    numbers: dict[str, Any],
    draws: jax.Array,
    **options: str,
) -> tuple[jax.Array, jax.Array]:
    """(B, M) scores and (B,) whether converged."""

    def one(draw: jax.Array) -> tuple[jax.Array, jax.Array]:
        anchors = dict(fixed)
        if "question" in anchors:
            anchors["question"] = anchors["question"][draw]
        found = fit(successes[:, draw], trials[:, draw], anchors=anchors, **numbers, **options)
        return found.score, found.converged

    return jax.vmap(one)(draws)


def _summary(score: np.ndarray, converged: np.ndarray, level: float) -> Bootstrap:
    score = np.where(converged[:, None], score, np.nan)
    finite = np.isfinite(score).all(axis=1)
    models = score.shape[1]
    covariance = np.full((models, models), np.nan)
    lower = upper = np.full(models, np.nan)
    if finite.sum() > 1:
        covariance = np.cov(score[finite], rowvar=False).reshape(models, models)
    if converged.any():
        # Order statistics, not interpolated: infinite scores have no value between them.
        tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
        lower, upper = np.quantile(score[converged], tails, axis=0, method="inverted_cdf")
    return Bootstrap(
        score=score,
        standard_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        lower=lower,
        upper=upper,
        level=level,
        failed=int((~converged).sum()),
        infinite=int((converged & ~finite).sum()),
    )
