"""How much scores owe to the choice of judges.

Severities are relative: they sum to zero over the judges at hand. When an N-th judge joins whose
severity is s on the scale of the other N - 1, the mean of all becomes s / N there, so that every
other severity shifts by - s / N. That is a change of gauge. It reaches the scores through the
information of the fit: hold the severities at their shifted values, let all else follow,

    change of (theta, question, rubric, intercept) = - H^-1 H_judge shift

with H the penalised information. With an intercept for each model (or for all) nothing resists a
common shift: every score moves by - s / N and their differences stay. With center "zero" the prior
resists and differences change.

What is not gauge shows in refits: each judge is left out in turn, and the ranking of the models
compared by Kendall's tau-b and Spearman's rho.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.connectivity import DisconnectedError
from dignified_jax.mfrm.diagnostics.expected_scores import counts_of
from dignified_jax.mfrm.diagnostics.group_anchors import sums_to_zero
from dignified_jax.mfrm.fit import fit as fit_ratings
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input.counts import EmptyLevelsError
from dignified_jax.mfrm.result import FACETS, Fit, has_scores
from dignified_jax.mfrm.solver.information import information, model_of, response


@dataclasses.dataclass(frozen=True)
class JudgeSensitivity:
    """Row j: judge j of N is left out, or joins the others. NaN where the rest can't be fitted.

    Attributes:
      severity: (N,) of judge j on the scale of the others, which sum to zero.
      gauge_shift: (N,) - severity / N, the shift of every other severity when j joins. Judges of
        infinite severity are left out of the zero sum: they don't count in N, and shift nobody.
      score_shift: (N, M) of the scores by the gauge shift alone, when j joins.
      score_without: (N, M) refitted scores without judge j.
      score_change: (N, M) scores with all judges less those.
      kendall: (N,) tau-b of the models' scores with and without j.
      spearman: (N,) rho.
      kendall_by_question: (N,) mean over questions of tau-b of the models' qualities.
      message: how each refit ended, or why there is none.
    """

    severity: np.ndarray
    gauge_shift: np.ndarray
    score_shift: np.ndarray
    score_without: np.ndarray
    score_change: np.ndarray
    kendall: np.ndarray
    spearman: np.ndarray
    kendall_by_question: np.ndarray
    message: tuple[str, ...]


def gauge_shift(severity: jax.typing.ArrayLike, judges: int) -> np.ndarray:
    """Shift of existing severities when a judge joins as the `judges`-th.

    Args:
      severity: of the new judge, where the others' severities sum to zero.
      judges: N, with the new one.
    """
    return -np.asarray(severity) / judges


def propagate(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None,
    shift: jax.typing.ArrayLike,
    *,
    anchors: anchoring.Anchors | None = None,
) -> jax.Array:
    """Change of the scores when severities are moved by `shift` and all else follows, linearised.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`.
      trials: as for `fit`.
      shift: (J,) changes of the severities. Variances that were estimated are held.
      anchors: the fit's.

    Returns:
      (M,) changes; NaN for models without a finite score.

    Raises:
      ValueError: for ratings, anchors or a shift of another shape than the fit's.
    """
    counts = counts_of(fit, successes, trials)
    sizes = dict(zip(FACETS, counts[0].shape[:4], strict=True))
    fixed = anchoring.as_anchors(anchors, sizes, counts[0].dtype)
    shift = shift if xp.traced(shift) else np.asarray(shift, float)
    if shift.shape != fit.judge.shape:
        raise ValueError(f"shift must have shape {fit.judge.shape}, found {shift.shape}")
    return _propagate(fit, counts, fixed, shift)


@xp.at_once
def _propagate(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    fixed: dict[str, jax.Array],
    shift: jax.Array,
) -> jax.Array:
    matrix = information(fit, counts, fixed, hold_judges=True)
    return xp.where(xp.isfinite(fit.score), response(matrix, shift).score, xp.nan)


def leave_one_judge_out(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    labels: Mapping[str, Sequence[object]] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> JudgeSensitivity:
    """Refits without each judge in turn.

    Args:
      fit: from these ratings.
      successes: (model, question, judge, rubric), as for `fit`.
      trials: as for `fit`.
      labels: facet -> labels of its levels, for messages; None for their numbers here, with all
        judges.
      progress: called with the numbers of judges left out and of all, after each.
      options: of `fit`: anchors (not of judges), allow_disconnected, tolerance, max_iterations as
        the fit was made with. Center, method and precision are its own.

    Raises:
      ValueError: with fewer than 2 judges, or anchored ones: their scale does not depend on N;
        for judges that do not sum to zero, as after group anchors.
    """
    counts = counts_of(fit, successes, trials)
    judges = counts[0].shape[2]
    if judges < 2:
        raise ValueError("leaving a judge out needs at least 2 judges")
    if "judge" in (options.get("anchors") or {}):
        raise ValueError("with anchored judges the scale does not depend on who else judges")
    if not sums_to_zero(np.asarray(fit.judge, float)):
        raise ValueError(
            "the fit's judges do not sum to zero: leave judges out of the fit before group anchors"
        )
    score, quality = np.asarray(fit.score), np.asarray(fit.quality)
    severity, shift = _joining(np.asarray(fit.judge))
    # The response is linear, and the same for every judge but for the size of the shift.
    options |= {"center": fit.center, "method": fit.method}
    options["precision"] = fit.precision if fit.method == "ridge" else None
    options["model"] = model_of(fit)
    unit = np.asarray(
        propagate(fit, successes, trials, np.ones(judges), anchors=options.get("anchors"))
    )
    if labels is None:
        labels = {f: range(n) for f, n in zip(FACETS, counts[0].shape[:4], strict=True)}
    refits, messages = [], []
    for judge in range(judges):
        refit, message = _without(counts, judge, options, labels)
        refits.append(refit)
        messages.append(message)
        if progress is not None:
            progress(judge + 1, judges)
    without = np.stack([_scores(refit, score) for refit in refits])
    with np.errstate(invalid="ignore"):  # both may be infinite: no change is known then
        change = score - without
    return JudgeSensitivity(
        severity=severity,
        gauge_shift=shift,
        score_shift=shift[:, None] * unit,
        score_without=without,
        score_change=change,
        kendall=np.array([kendall(score, other) for other in without]),
        spearman=np.array([spearman(score, other) for other in without]),
        kendall_by_question=np.array([_by_question(quality, refit) for refit in refits]),
        message=tuple(messages),
    )


def _joining(measure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) severities on the scale of the others, and shifts of these, from (N,) that sum to zero.

    Those that are infinite are no part of the sum: they shift nobody, and don't count in N.
    """
    counted = np.isfinite(measure)
    number = int(counted.sum())
    among = number / (number - 1) if number > 1 else np.nan  # with no other there is no scale
    severity = np.where(counted, measure * among, measure)
    alone = np.where(np.isinf(measure), 0.0, np.nan)
    return severity, np.where(counted, gauge_shift(severity, max(number, 1)), alone)


def _without(
    counts: tuple[jax.Array, ...],
    judge: int,
    options: dict[str, object],
    labels: Mapping[str, Sequence[object]],
) -> tuple[Fit | None, str]:
    """The fit without a judge, None if the other judges' ratings can't be fitted; how it ended."""
    kept = np.delete(np.arange(counts[0].shape[2]), judge)
    names = {**labels, "judge": [labels["judge"][other] for other in kept]}
    try:
        refit = fit_ratings(*(array[:, :, kept] for array in counts), **options)
    except (DisconnectedError, EmptyLevelsError) as error:  # what this judge alone rated or joined
        return None, error.described(names)
    except ValueError as error:
        return None, str(error)
    return refit, refit.describe(names)


def _scores(refit: Fit | None, like: np.ndarray) -> np.ndarray:
    usable = refit is not None and has_scores(refit)
    return np.asarray(refit.score) if usable else np.full_like(like, np.nan)


def _by_question(quality: np.ndarray, refit: Fit | None) -> float:
    if refit is None or not has_scores(refit):
        return float("nan")
    other = np.asarray(refit.quality)
    taus = [kendall(quality[:, q], other[:, q]) for q in range(quality.shape[1])]
    return float(np.nanmean(taus)) if np.isfinite(taus).any() else float("nan")


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-b of two rankings: Kendall (1945). NaN where either has ties only.

    Infinite values rank; pairs with a NaN are left out.
    """
    one, other = _both(one, other)
    # Comparisons, not signs of differences: inf - inf has none.
    signs = [np.subtract(v[:, None] > v, v[:, None] < v, dtype=int) for v in (one, other)]
    product, first, second = (
        (a * b).sum() for a, b in ((signs[0], signs[1]), (signs[0],) * 2, (signs[1],) * 2)
    )
    return float(product / np.sqrt(first * second)) if first and second else float("nan")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, tied values sharing their mean rank."""
    one, other = (mean_ranks(values) for values in _both(one, other))
    if one.size == 0:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale else float("nan")


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, tied values sharing the mean of theirs."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return (first + last + 1) / 2.0


def _both(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"rankings must be equally long, found {one.shape} and {other.shape}")
    present = ~np.isnan(one) & ~np.isnan(other)
    return one[present], other[present]
