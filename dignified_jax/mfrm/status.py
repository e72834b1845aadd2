"""How a fit ended: codes that survive tracing, and what each means and asks of the reader."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """Value of `Fit.status`. CONVERGED, VARIANCE_AT_BOUND, EXTREME_MODEL come with `converged`."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    SINGULAR = 2
    BAD_COUNTS = 3
    EMPTY_LEVEL = 4
    VARIANCE_AT_BOUND = 5
    BAD_ANCHORS = 6
    EXTREME_MODEL = 7
    UNOBSERVED_CATEGORY = 8


CONVERGED = (Status.CONVERGED, Status.VARIANCE_AT_BOUND, Status.EXTREME_MODEL)

MESSAGES: dict[Status, str] = {
    Status.CONVERGED: "converged",
    Status.MAX_ITERATIONS: (
        "stopped at max_iterations before the largest change of a logit was below the tolerance. "
        "Raise max_iterations; if that does not help, a facet level with only successes or only "
        "failures is being pushed to infinity (see `fit.extreme`): raise its precision."
    ),
    Status.SINGULAR: (
        "the information matrix is not positive definite: some level is not determined by the "
        "ratings or by a prior. Raise the precisions, or look for levels with few or only extreme "
        "ratings (`fit.extreme`) and for subsets (`mfrm.subsets`)."
    ),
    Status.BAD_COUNTS: (
        "successes or trials hold a value that is negative, fractional, not finite, or successes "
        "exceed trials; every estimate is NaN. Call `mfrm.fit` outside jax.jit to see which one."
    ),
    Status.EMPTY_LEVEL: (
        "a model, question, judge or rubric item has no ratings (UNRATED in `fit.extreme`): its "
        "estimates are its prior's mean, and NaN for a model. Drop the level, or disregard it."
    ),
    Status.VARIANCE_AT_BOUND: (
        "converged, with a variance of the laplace method at the edge of its range: the ratings "
        "show no spread (or an unbounded one) of that effect. Read the other estimates as usual."
    ),
    Status.EXTREME_MODEL: (
        "converged, but a model has only successes or only failures (see `fit.extreme.model`): its "
        "score is infinite and tells nothing of the other facets. For a finite one use "
        "center='grand', which shrinks all scores, or add harder or easier ratings."
    ),
    Status.UNOBSERVED_CATEGORY: (
        "a category was never given (with partial credit: on some rubric item), so its steps have "
        "no finite estimate; every estimate is NaN. Merge it with its neighbour; `mfrm.fit` "
        "outside jax.jit says which one."
    ),
    Status.BAD_ANCHORS: (
        "anchors hold an infinite value or no value at all for an anchored facet; every estimate "
        "is NaN. Give at least one finite level, NaN for the levels to estimate."
    ),
}
