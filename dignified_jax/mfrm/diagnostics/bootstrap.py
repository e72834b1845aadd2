"""Bootstrap over questions: how scores vary from one sample of questions to another.

The standard errors of `fit` treat its questions as fixed: they say how well the scores ON THESE
QUESTIONS are known. Scores meant for all questions like them vary with the sample as well. Here
questions are drawn with replacement, with all their ratings, and everything is estimated anew
(Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13); a question drawn
twice is two questions, with a difficulty and thetas for each.

Replicates of method "quadrature" are fitted by Laplace's method, whose scores vary alike in a
third of the time, and moved by what the two differ by on all ratings (by nothing where Laplace's
fit to these does not converge). Every search begins at the estimates from all ratings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import counts_of
from dignified_jax.mfrm.fit import fit, on_devices
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.result import FACETS, UNRATED, USABLE, Fit, Precision, Status
from dignified_jax.mfrm.solver import start as starting
from dignified_jax.mfrm.solver.estimate import estimate
from dignified_jax.mfrm.solver.start import Start

# Ratings of the replicates that one call of a program fits: more gain nothing and take memory.
RATINGS_AT_ONCE = 2**21
# Replicates that NumPy fits between two words of its progress.
ON_HOST_AT_ONCE = 16
# From this many ratings on, of all replicates together, a compiled program is done before NumPy is;
# a fit to few ratings takes as long there as one to this many.
MOST_ON_HOST, RATINGS_A_FIT = 2**23, 2**13
# On the largest change of a logit in an iteration: the scores are then right to 1e-5 or so.
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Scores of B replicates and M models, in logits; all on the scale of the fit to all ratings.

    A replicate need not have ratings of every judge, item and model. Who is absent is left out of
    it, and scores are then relative to the judges and items that are there, whose mean in the fit
    to all ratings is known: they are moved by it.

    Attributes:
      score: (B, M) scores of the replicates; NaN where a fit failed or has no ratings that tell of
        the model, infinite where the model had only successes or only failures.
      standard_error: (M,) standard deviations over the replicates where the model's score is
        finite.
      covariance: (M, M), over those where both scores are.
      lower: (M,) percentile interval, over the replicates with a score of the model.
      upper: (M,).
      level: its nominal coverage.
      failed: number of replicates whose fit did not converge.
      singular: number of those whose levels were not determined by the ratings drawn.
      infinite: number of those that converged with an infinite score.
      incomplete: number of those that converged without ratings of some judge, item or model.
      infinite_of: (M,) numbers of infinite scores of each model.
      absent_of: (M,) numbers of replicates without ratings that tell of each model.
    """

    score: np.ndarray
    standard_error: np.ndarray
    covariance: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    level: float
    failed: int
    infinite: int
    singular: int = 0
    incomplete: int = 0
    infinite_of: np.ndarray | None = None
    absent_of: np.ndarray | None = None


def bootstrap(
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    anchors: anchoring.Anchors | None = None,
    progress: Callable[[int, int], None] | None = None,
    original: Fit | None = None,
    **options: object,
) -> Bootstrap:
    """Refits samples of the questions. The ratings are checked once, as `fit` does.

    Args:
      successes: (model, question, judge, rubric), as for `fit`; of an ordinal model the counts
        (model, question, judge, rubric, category).
      trials: as for `fit`.
      replicates: B.
      seed: of the samples.
      level: coverage of the percentile intervals.
      anchors: as for `fit`; questions keep theirs when drawn.
      progress: called with the numbers of replicates done and wanted, after every batch.
      original: the fit to these ratings with these options, if it is there already.
      options: of `fit`: model, center, method, precision, allow_disconnected, tolerance (of the
        replicates 1e-3 unless given), max_iterations, compiled (None for a compiled program where
        there are many ratings in all).

    Raises:
      ValueError: as `fit`; for fewer than 2 replicates or questions, a level outside (0, 1) or an
        original of another shape.
    """
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, found {replicates}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, found {level}")
    if np.ndim(successes) > 1 and np.shape(successes)[1] == 1:
        raise ValueError(
            "the bootstrap needs at least 2 questions: samples of one are all alike, and "
            "would make every standard error 0"
        )
    model = options.get("model", "binomial")
    if original is None:  # refuses what can't be fitted, by name; and gives the scale
        original = fit(successes, trials, anchors=anchors, **options)
    else:
        counts_of(original, successes, trials)  # refuses another shape
    method = "laplace" if original.method == "quadrature" else original.method
    draws = samples(original.question.size, replicates, seed)
    if method != original.method:
        draws = np.concatenate([np.arange(draws.shape[1], dtype=np.int32)[None], draws])

    def done(number: int) -> None:
        if progress is not None:
            progress(min(number, replicates), replicates)

    compiled = options.get("compiled")
    if compiled is None:
        work = len(draws) * (np.size(successes) + RATINGS_A_FIT)
        compiled = work > MOST_ON_HOST or on_devices((successes, trials))
    with xp.on_host(not compiled):
        counts = rating_counts.as_counts(successes, trials, model)
        sizes = dict(zip(FACETS, counts[0].shape, strict=False))
        given = _Given(
            counts=counts,
            fixed=anchoring.as_anchors(anchors, sizes, counts[0].dtype),
            precision=options.get("precision") or Precision(),
            tolerance=options.get("tolerance") or TOLERANCE,
            max_iterations=options.get("max_iterations", 100),
            severity={"judge": original.judge, "rubric": original.rubric},
            near=starting.of_fit(original),
        )
        given = jax.tree.map(lambda leaf: xp.asarray(leaf, counts[0].dtype), given)
        at_once = RATINGS_AT_ONCE // counts[0].size if compiled else ON_HOST_AT_ONCE
        score, status, complete = _in_batches(
            given, draws, at_once, done, center=original.center, method=method, model=model
        )
    converged = np.isin(status, USABLE)
    if method != original.method:
        apart = np.asarray(original.score) - score[0]
        score = score[1:] + np.where(np.isfinite(apart) & converged[0], apart, 0.0)
        status, complete, converged = status[1:], complete[1:], converged[1:]
    return dataclasses.replace(
        _summary(score, converged, level),
        singular=int((status == Status.SINGULAR).sum()),
        incomplete=int((converged & ~complete).sum()),
    )


def samples(questions: int, replicates: int, seed: int) -> np.ndarray:
    """(replicates, questions) int32 indices of the questions drawn."""
    return np.random.default_rng(seed).integers(
        questions, size=(replicates, questions), dtype=np.int32
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Given:
    """Inputs that all replicates share: what `estimate` takes, the severities of the fit to all
    ratings, and where to begin."""

    counts: tuple[jax.Array, ...]
    fixed: dict[str, jax.Array]
    precision: Precision
    tolerance: jax.typing.ArrayLike
    max_iterations: jax.typing.ArrayLike
    severity: dict[str, jax.Array]
    near: Start


def _in_batches(
    given: _Given,
    draws: np.ndarray,
    at_once: int,
    progress: Callable[[int], None],
    **options: str,
) -> list[np.ndarray]:
    """Results of `_replicates` for all (B, Q) draws, about `at_once` of them side by side."""
    batches = -(-len(draws) // max(1, at_once))
    batch = -(-len(draws) // batches)  # alike, so that few are repeated to fill the last one
    found = []
    for start in range(0, len(draws), batch):
        drawn = draws[start : start + batch]
        # One shape, so one compilation: the last batch is filled up with repeats.
        filled = np.resize(drawn, (batch, drawn.shape[1]))
        results = _replicates(given, filled, **options)
        found.append([np.asarray(values)[: len(drawn)] for values in results])
        progress(start + len(drawn))
    return [np.concatenate(values) for values in zip(*found, strict=True)]


@xp.program("center", "method", "model")
def _replicates(
    given: _Given, draws: jax.Array, **options: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(B, M) scores, (B,) statuses and (B,) whether every judge, item and model has ratings."""

    def one(draw: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        fixed = dict(given.fixed)
        if "question" in fixed:
            fixed["question"] = fixed["question"][draw]
        found = estimate(
            tuple(array[:, draw] for array in given.counts),
            given.precision,
            fixed,
            given.tolerance,
            given.max_iterations,
            given.near.at_questions(draw),
            **options,
        )
        score, complete = found.score, (found.extreme.model != UNRATED).all()
        for facet, measure in given.severity.items():
            present = getattr(found.extreme, facet) != UNRATED
            complete = complete & present.all()
            if facet in fixed:
                continue
            # Those that the scores are relative to, here and in the fit to all ratings.
            counted = present & xp.isfinite(getattr(found, facet)) & xp.isfinite(measure)
            score = score + xp.where(counted, measure, 0.0).sum() / counted.sum()
        return score, found.status, complete

    # A CPU gains nothing from fits side by side, which all take as many steps as the longest.
    return xp.each(one, draws) if jax.default_backend() == "cpu" else xp.vmap(one)(draws)


def _summary(score: np.ndarray, converged: np.ndarray, level: float) -> Bootstrap:
    """The figures of (B, M) scores and (B,) whether their fit converged."""
    score = np.where(converged[:, None], score, np.nan)
    finite = np.isfinite(score)
    count = finite.sum(axis=0)
    shifted = np.where(finite, score, 0.0)
    shifted = np.where(finite, shifted - shifted.sum(axis=0) / np.maximum(count, 1), 0.0)
    # Over the replicates where both are finite, each about its mean there.
    weight = finite.astype(float)
    pairs = weight.T @ weight
    sums = shifted.T @ weight
    products = shifted.T @ shifted - sums * sums.T / np.maximum(pairs, 1)
    covariance = np.where(pairs > 1, products / np.maximum(pairs - 1, 1), np.nan)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    lower, upper = np.full((2, score.shape[1]), np.nan)
    for model, values in enumerate(score.T):
        values = values[~np.isnan(values)]
        if values.size:
            # Order statistics, not interpolated: infinite scores have no value between them.
            lower[model], upper[model] = np.quantile(values, tails, method="inverted_cdf")
    infinite = np.isinf(score)
    return Bootstrap(
        score=score,
        standard_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        lower=lower,
        upper=upper,
        level=level,
        failed=int((~converged).sum()),
        infinite=int(infinite.any(axis=1).sum()),
        infinite_of=infinite.sum(axis=0),
        absent_of=(converged[:, None] & np.isnan(score)).sum(axis=0),
    )
