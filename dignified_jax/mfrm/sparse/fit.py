"""`fit_sparse`: the public function for lists of ratings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.mfrm.checks import refuse_options
from dignified_jax.mfrm.connectivity import listed_groups
from dignified_jax.mfrm.input.sparse_ratings import SparseRatings
from dignified_jax.mfrm.result import FACETS, Fit, Precision, Status, without_estimate
from dignified_jax.mfrm.solver import extremes
from dignified_jax.mfrm.solver.estimate import MODELS, ResponseModel
from dignified_jax.mfrm.solver.memory import refuse_sparse
from dignified_jax.mfrm.sparse import ordinal
from dignified_jax.mfrm.sparse.newton import maximise
from dignified_jax.mfrm.sparse.rating_list import Mains, RatingList
from dignified_jax.mfrm.sparse.selection import select
from dignified_jax.mfrm.sparse.standard_errors import ERRORS, Errors, standard_errors
from dignified_jax.mfrm.sparse.system import system

# Labels of a part that are listed where ratings fall into several.
MOST_NAMED = 8


def fit_sparse(
    ratings: SparseRatings,
    *,
    model: ResponseModel | None = None,
    precision: Precision | None = None,
    errors: Errors = "scores",
    tolerance: float | None = None,
    max_iterations: int = 100,
) -> Fit:
    """The ridge fit of `fit`, center "model", of a list of ratings: for many judges.

    The same estimates as `fit(method="ridge")` of the dense arrays, in memory and time a pass
    proportional to the ratings (and to models times questions). Prefer `fit` where its arrays fit
    into memory and judges are below a few thousand: it gives every standard error at once. Not for
    use under `jax.jit`.

    Further facets (`ratings.extra`) add to the logit as rubric items do, each summing to zero, and
    stand after them in `Fit.rubric`; `facet_levels` parts them.

    Args:
      ratings: from `from_long(..., sparse=True)`, or made by hand.
      model: as for `fit`; None for "binomial", or, of ratings with categories, "rating_scale".
        With "partial_credit" each level of the facet `rubric` has its own steps.
      precision: of the ridge priors; None for 1 everywhere. Must be positive, all four.
      errors: which standard errors: "scores" (scores, intercepts, items, steps), "levels" (judges
        and questions too) or "all" (each quality and theta too). The others are NaN. All are exact;
        each of the J + Q levels and the M Q cells takes a solve of its own, of some tens of passes
        over the ratings.
      tolerance: on the largest change of any logit in an iteration; None for 5e-5 in float32 and
        1e-9 in float64, which is used where jax_enable_x64 is set.
      max_iterations: Newton steps tried.

    Raises:
      ValueError: naming the argument or the rating, for wrong values, levels without ratings, or
        ratings that fall into parts without a common level.
    """
    if not isinstance(ratings, SparseRatings):
        raise ValueError(f"ratings must be a mfrm.SparseRatings, found {type(ratings).__name__}")
    if errors not in ERRORS:
        raise ValueError(f"errors must be one of {', '.join(ERRORS)}, found {errors!r}")
    precision = Precision() if precision is None else precision
    refuse_options(precision, tolerance, max_iterations)
    for name, value in vars(precision).items():
        if not float(value) > 0:
            raise ValueError(f"precision.{name} must be positive in a sparse fit, found {value}")
    chosen = ("binomial",) if ratings.categories is None else MODELS[1:]
    model = chosen[0] if model is None else model
    if model not in chosen:
        kind = "yes/no" if ratings.categories is None else "ordinal"
        raise ValueError(f"model must be {' or '.join(chosen)} of {kind} ratings, found {model!r}")
    sizes = _refuse(ratings)
    dtype = jnp.zeros(()).dtype
    number = None if ratings.categories is None else len(ratings.categories)
    refuse_sparse(sizes, len(ratings.model), dtype.itemsize, categories=number or 0)
    if tolerance is None:
        tolerance = 1e-9 if dtype == jnp.float64 else 5e-5
    place = np.lexsort([ratings.question, ratings.model])  # passes go cell by cell
    index = {facet: getattr(ratings, facet)[place] for facet in FACETS}
    alike = [index["rubric"], *(ratings.extra[name][place] for name in ratings.extra)]
    levels = [len(ratings.labels[name]) for name in ("rubric", *ratings.extra)]
    starts = np.cumsum([0, *levels[:-1]])
    index["rubric"] = np.stack([one + start for one, start in zip(alike, starts, strict=True)])
    successes, trials = (np.asarray(a)[place] for a in (ratings.successes, ratings.trials))
    set_of = None
    if number is not None:
        successes = successes.astype(np.int64)
        set_of = alike[0] if model == "partial_credit" else np.zeros_like(alike[0])
    selected = select(index, successes, trials, sizes, number, set_of)
    observed = selected.observed
    if observed is not None and not selected.model.any():
        raise ValueError("no model has a finite score: each has only highest or only lowest scores")
    arrays = RatingList(
        index={facet: jnp.asarray(values, jnp.int32) for facet, values in index.items()},
        block=jnp.asarray(np.repeat(np.arange(len(levels)), levels), jnp.int32),
        successes=jnp.asarray(selected.score, dtype),
        trials=jnp.asarray(trials, dtype),
        sizes=sizes,
        set_of=None if set_of is None else jnp.asarray(set_of, jnp.int32),
        step_used=None if observed is None else jnp.asarray(_steps_used(observed), dtype),
    )
    precision = jax.tree.map(lambda value: jnp.asarray(value, dtype), precision)
    extreme = jax.tree.map(jnp.asarray, selected.extreme)
    active = jnp.asarray(selected.model, dtype)
    infinite = jnp.asarray(~selected.model)
    theta, mains, change, iterations = maximise(
        arrays, active, precision, jnp.asarray(tolerance, dtype), int(max_iterations)
    )
    at = system(arrays, active, theta, mains, precision)
    standard_error, covariance = standard_errors(at, errors)
    status = Status.EXTREME_MODEL if infinite.any() else Status.CONVERGED
    if not change <= tolerance:
        status = Status.MAX_ITERATIONS if jnp.isfinite(change) else Status.SINGULAR
    quality = mains.intercept[:, None] + theta
    estimates = {
        "theta": theta,
        "quality": quality,
        "judge": -mains.judge,
        "rubric": -mains.rubric,
        "question": -mains.question,
        "intercept": mains.intercept,
        "score": quality.mean(axis=1),
        "standard_error": standard_error,
        "score_covariance": covariance,
        "log_likelihood": _log_likelihood(arrays, active, theta, mains),
    }
    if observed is not None:
        # At the places of all categories, those that were closed up included.
        step, error = (
            extremes.open_up(jnp.pad(values, ((0, 0), (0, number - 1 - values.shape[1]))), observed)
            for values in (-mains.step, standard_error.step)
        )
        error = jnp.where(jnp.isfinite(step), error, jnp.nan)
        estimates["step"] = step
        estimates["standard_error"] = dataclasses.replace(standard_error, step=error)
    return Fit(
        **without_estimate(estimates, extreme.model, infinite),
        precision=precision,
        extreme=extreme,
        largest_change=change,
        iterations=iterations,
        converged=jnp.asarray(status in (Status.CONVERGED, Status.EXTREME_MODEL)),
        status=jnp.asarray(status, jnp.int32),
    )


def facet_levels(fit: Fit, ratings: SparseRatings) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Facet, or name of a further one -> its measures and standard errors, from a sparse fit."""
    error = fit.standard_error
    found = {"model": (fit.score, error.score)}
    found |= {name: (getattr(fit, name), getattr(error, name)) for name in ("question", "judge")}
    return found | {
        name: (fit.rubric[part], error.rubric[part]) for name, part in _item_parts(ratings).items()
    }


def facet_extremes(fit: Fit, ratings: SparseRatings) -> dict[str, np.ndarray]:
    """Facet, or name of a further one -> (L,) codes of its levels as in `Extreme`."""
    codes = {facet: np.asarray(getattr(fit.extreme, facet)) for facet in FACETS}
    return codes | {name: codes["rubric"][part] for name, part in _item_parts(ratings).items()}


def _item_parts(ratings: SparseRatings) -> dict[str, slice]:
    """Where the levels of each facet alike to rubric items stand among all of these."""
    names = ("rubric", *ratings.extra)
    ends = np.cumsum([0, *(len(ratings.labels[name]) for name in names)]).tolist()
    return {name: slice(*ends[place : place + 2]) for place, name in enumerate(names)}


def _log_likelihood(
    ratings: RatingList, active: jax.Array, theta: jax.Array, mains: Mains
) -> jax.Array:
    x = mains.at(ratings) + ratings.at_cell(theta)
    if mains.step is not None:
        return ordinal.log_likelihood(ratings, active[ratings.index["model"]], x, mains.step)
    y, n = ratings.successes, ratings.trials
    against = jnp.where(x >= 0.0, n - y, y)
    terms = n * jnp.log1p(jnp.exp(-jnp.abs(x))) + against * jnp.abs(x)
    return -(active[ratings.index["model"]] * terms).sum()


def _steps_used(observed: np.ndarray) -> np.ndarray:
    """(S, T) bool, from (S, K) categories in use: each set's steps first, of the largest set T."""
    steps = np.maximum(observed.sum(axis=1) - 1, 0)
    return np.arange(steps.max()) < steps[:, None]


def _refuse(ratings: SparseRatings) -> tuple[int, int, int, int]:
    """(M, Q, J, I), or ValueError for arrays that are no ratings."""
    shape = np.shape(ratings.model)
    index = {facet: getattr(ratings, facet) for facet in FACETS} | ratings.extra
    for name, values in (
        index | {"successes": ratings.successes, "trials": ratings.trials}
    ).items():
        values = np.asarray(values)
        if values.ndim != 1 or values.shape != shape or not values.size:
            raise ValueError(f"{name} must be one value a rating, {shape}, found {values.shape}")
    sizes = []
    for facet, values in index.items():
        count = len(ratings.labels[facet])
        wrong = np.flatnonzero((values < 0) | (values >= count))
        if not np.issubdtype(values.dtype, np.integer) or wrong.size:
            where = f"rating {wrong[0]}: {values[wrong[0]]}" if wrong.size else str(values.dtype)
            raise ValueError(f"{facet} must be whole numbers from 0 to {count - 1}, found {where}")
        empty = np.flatnonzero(np.bincount(values, minlength=count) == 0)
        if empty.size:
            raise ValueError(f"no ratings for {facet} {empty[:8].tolist()}: leave these levels out")
        sizes.append(count)
    y, n = (np.asarray(a, np.float64) for a in (ratings.successes, ratings.trials))
    good = (y >= 0) & (y <= n) & (n >= 1) & (n < np.inf) & (y == np.round(y)) & (n == np.round(n))
    if ratings.categories is not None:
        number = len(ratings.categories)
        inside = (y >= 0) & (y < number) & (n == 1) & (y == np.round(y))
        if not inside.all():
            first = int(np.flatnonzero(~inside)[0])
            raise ValueError(
                f"with categories, successes must be whole numbers from 0 to {number - 1} and "
                f"trials 1; rating {first}: {y[first]:g} and {n[first]:g} "
                f"({(~inside).sum()} in all)"
            )
    elif not good.all():
        first = int(np.flatnonzero(~good)[0])
        raise ValueError(
            "ratings must be whole numbers with 0 <= successes <= trials and trials at least 1; "
            f"rating {first}: successes {y[first]:g}, trials {n[first]:g} ({(~good).sum()} in all)"
        )
    part = _parts(list(index.values()), sizes)[: sizes[0]]  # every part has a model
    if (part != part[0]).any():
        groups = [np.flatnonzero(part == one) for one in np.unique(part)]
        raise ValueError(
            f"the design is disconnected: the ratings fall into {len(groups)} parts without a "
            "common model, question, judge or rubric item; fit them apart. Their models are "
            + listed_groups([_named(ratings.labels["model"], group) for group in groups])
        )
    return (*sizes[:3], sum(sizes[3:]))


def _named(labels: Sequence[object], levels: np.ndarray) -> str:
    """The first labels of some levels."""
    more = f", ... ({levels.size})" if levels.size > MOST_NAMED else ""
    return ", ".join(clip(labels[level]) for level in levels[:MOST_NAMED]) + more


def _parts(index: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """Number of the connected component of every level, joined by ratings."""
    offsets = np.cumsum([0, *sizes[:-1]])
    nodes = np.stack([level + offset for level, offset in zip(index, offsets, strict=True)])
    label = np.arange(sum(sizes))
    while True:
        lowest = label[nodes].min(axis=0)
        after = label.copy()
        for row in nodes:
            np.minimum.at(after, row, lowest)
        after = after[after]  # paths halve
        if (after == label).all():
            return label
        label = after
