"""Group anchors: the mean of some levels of a facet is given, the levels themselves are not.

A facet's severities are known up to a common constant, which its zero sum fixes by default. "These
levels have mean v" fixes the same constant, so a group anchor changes no logit: all levels of the
facet move by one constant, and qualities, scores and intercepts by the sum of them. That is the
exact optimum under the new constraint, since the priors take no part in the choice: the ridge of a
facet that sums to zero acts on deviations from the facet's own mean (with its sum fixed at zero,
the two are the same), wherever that mean lies.

Standard errors do change, those of the constraint being zero: x + v - g, with g the group's mean,
varies by var x - 2 cov(x, g) + var g. One solve with the fit's information matrix gives the
covariances with g of all estimates at once.

What a gauge can't do is refused: a second group in a facet is a statement about data, not about
the scale, and so is any group of a facet with anchored levels; with center "zero" qualities have a
prior of mean 0, which fixes the scale.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.diagnostics.expected_scores import counts_of
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.result import FACETS, Fit
from dignified_jax.mfrm.solver.information import covariances, information

Groups = Mapping[str, tuple[Sequence[int], float]]
INTERCEPTS = ("model", "grand")


def anchor_groups(
    fit: Fit,
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    groups: Groups,
    anchors: anchoring.Anchors | None = None,
) -> Fit:
    """The same fit on the scale where each group of levels has its given mean measure.

    Not under `jax.jit`: whether a facet sums to zero has to be read.

    Args:
      fit: from these ratings; its groups' facets without anchors.
      successes: (model, question, judge, rubric) that it was made of; of ordinal fits the counts
        (model, question, judge, rubric, category).
      trials: likewise.
      groups: facet ("judge", "rubric", "question") -> (indices of levels, their mean).
      anchors: as given to `fit`.

    Returns:
      `Fit` with measures and standard errors changed; theta stays.

    Raises:
      ValueError: for center "zero", an unknown facet, bad levels, a mean that is not finite, and a
        facet that does not sum to zero.
    """
    if fit.center not in INTERCEPTS:
        raise ValueError(
            f"group anchors need center {' or '.join(INTERCEPTS)}, found {fit.center!r}"
        )
    counts = counts_of(fit, successes, trials)
    sizes = dict(zip(FACETS, counts[0].shape[:4], strict=True))
    fixed = anchoring.as_anchors(anchors, sizes, counts[0].dtype)
    if not groups:
        raise ValueError("groups names no facet")
    shares, values = {}, {}
    for facet, (levels, value) in groups.items():
        if facet in fixed:
            raise ValueError(f"groups: {facet} is anchored, so its scale is fixed already")
        shares[facet] = _shares(fit, facet, levels)
        values[facet] = float(value)
        if not np.isfinite(values[facet]):
            raise ValueError(f"groups[{facet!r}] must have a finite mean, found {value}")
    return _anchor(fit, counts, fixed, shares, values)


def _shares(fit: Fit, facet: str, levels: Sequence[int]) -> jax.Array:
    """(L,) weights of the group's mean."""
    if facet not in anchoring.ANCHORABLE:
        raise ValueError(f"groups may name {', '.join(anchoring.ANCHORABLE)}, found {facet!r}")
    measure = np.asarray(getattr(fit, facet))
    chosen = np.unique(np.asarray(levels))
    if chosen.size == 0 or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(f"groups[{facet!r}] must list levels by index, found {levels}")
    if chosen[0] < 0 or chosen[-1] >= measure.size:
        raise ValueError(
            f"groups[{facet!r}] names level {chosen[0] if chosen[0] < 0 else chosen[-1]} of "
            f"{measure.size}"
        )
    if facet == "question" and fit.method != "ridge":
        raise ValueError(
            f"groups: questions of method {fit.method!r} are random, their prior mean is 0"
        )
    finite = np.isfinite(measure)
    if not finite[chosen].all():
        level = int(chosen[~finite[chosen]][0])
        raise ValueError(f"groups[{facet!r}] names level {level}, which has no finite measure")
    if not sums_to_zero(measure):
        raise ValueError(f"groups: {facet} does not sum to zero, so its scale is anchored already")
    shares = np.zeros(measure.size)
    shares[chosen] = 1.0 / chosen.size
    return shares


def sums_to_zero(measure: np.ndarray) -> bool:
    """Tells whether the finite ones of (L,) measures do, as far as single precision can."""
    measure = measure[np.isfinite(measure)]
    return bool(abs(measure.sum()) <= 1e-3 * (1.0 + np.abs(measure).sum()))


@xp.at_once
def _anchor(
    fit: Fit,
    counts: tuple[jax.Array, ...],
    fixed: dict[str, jax.Array],
    shares: dict[str, jax.Array],
    values: dict[str, float],
) -> Fit:
    matrix = information(fit, counts, fixed)
    with_mean = {facet: covariances(matrix, facet, share) for facet, share in shares.items()}
    # Levels of infinite measure are in no group, but 0 times infinity is not 0.
    known = {f: xp.where(share > 0, getattr(fit, f), 0.0) for f, share in shares.items()}
    shift = {facet: values[facet] - share @ known[facet] for facet, share in shares.items()}
    error = fit.standard_error
    changed, errors = {}, {}
    for facet, share in shares.items():
        own = getattr(with_mean[facet], facet)
        changed[facet] = getattr(fit, facet) + shift[facet]
        errors[facet] = _root(getattr(error, facet) ** 2 - 2.0 * own + share @ own)
    # Qualities move with the sum of all groups' means.
    total, with_total = (
        sum(shift.values()),
        jax.tree.map(lambda *each: sum(each), *with_mean.values()),
    )
    variance = sum(share @ getattr(with_total, facet) for facet, share in shares.items())
    for name in ("quality", "intercept", "score"):
        changed[name] = getattr(fit, name) + total
        own = getattr(error, name) ** 2
        errors[name] = _root(own - 2.0 * getattr(with_total, name) + variance)
    covariance = fit.score_covariance + variance
    covariance = covariance - with_total.score[:, None] - with_total.score
    finite = xp.isfinite(fit.score)
    return dataclasses.replace(
        fit,
        **changed,
        standard_error=dataclasses.replace(error, **errors),
        score_covariance=xp.where(finite[:, None] & finite, covariance, fit.score_covariance),
    )


def _root(variance: jax.Array) -> jax.Array:
    """Square root; rounding may leave a variance that is 0 on paper just below it."""
    return xp.sqrt(xp.maximum(variance, 0.0))
