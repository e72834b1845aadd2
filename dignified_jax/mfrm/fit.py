"""`fit`: the public function. Checks what it is given, then runs one jitted program."""

from __future__ import annotations

import math

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.checks import refuse_options, refuse_values
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.mesh import explicit_mesh, over_mesh
from dignified_jax.mfrm.result import FACETS, Fit, Precision
from dignified_jax.mfrm.solver.estimate import (
    METHODS,
    MODELS,
    FitMethod,
    ResponseModel,
    estimate,
)
from dignified_jax.mfrm.solver.gauge import CENTERS, Center
from dignified_jax.mfrm.solver.memory import refuse_dense
from dignified_jax.mfrm.solver.quadrature import POINTS

# From this many ratings on NumPy takes longer than XLA with compiling.
MOST_ON_HOST = 2**21


def fit(
    successes: jax.typing.ArrayLike,
    trials: jax.typing.ArrayLike | None = None,
    *,
    model: ResponseModel = "binomial",
    center: Center = "model",
    method: FitMethod | None = None,
    precision: Precision | None = None,
    anchors: anchoring.Anchors | None = None,
    allow_disconnected: bool = False,
    tolerance: jax.typing.ArrayLike | None = None,
    max_iterations: jax.typing.ArrayLike = 100,
    compiled: bool | None = None,
) -> Fit:
    """Fits the many-facet Rasch model to yes/no judgments, or to ratings in ordered categories.

        logit P(success) = intercept_m + theta_mq - judge_j - rubric_i - question_q
        log P(k) / P(k - 1) = the same - step_k

    Linacre, "Many-Facet Rasch Measurement" (1989), with a model-by-question interaction theta.
    Works under `jax.jit` and `jax.vmap` and on sharded arrays (shard the question axis). A pass
    over the ratings costs O(ratings); standard errors are exact, from the inverse of the observed
    information. Up to two million ratings NumPy does it in double precision, and estimates are its
    arrays; compiling would take seconds (see `compiled`).

    Under tracing, values can't be read: bad ones then set `status` (and make estimates NaN), and
    whether the design is connected is not checked; `mfrm.subsets` does that.

    Args:
      successes: (model, question, judge, rubric) numbers of positive judgments. Of an ordinal
        model (model, question, judge, rubric, category) numbers of ratings in each category.
      trials: numbers of judgments, 0 where not rated; None for one of each. Not for ordinal
        models, whose unrated places have zeros in all categories.
      model: "binomial"; "rating_scale", whose steps are common to all rubric items; or
        "partial_credit", where each item has its own. Steps have no prior. Categories without
        ratings (with partial credit: of an item) are closed up, see `Fit.step`.
      center: what the prior of theta is centred on: an intercept for each "model" (default), one
        "grand" intercept, or "zero". The last two shrink the differences between models.
      method: "quadrature", marginal maximum likelihood with theta and question random and their
        variances estimated, by adaptive Gauss-Hermite quadrature; "laplace", the same by Laplace's
        approximation, in a fifth to a half of the time, with errors that take the variances as
        known; or "ridge", penalised maximum likelihood with the given precisions, whose scores
        shrink where few ratings make a cell or the precisions are wrong. None for ridge if
        precision is given, else quadrature.
      precision: of the ridge priors; None for 1 everywhere. Only for ridge.
      anchors: facet ("judge", "rubric", "question") -> known values, NaN for levels to estimate.
        An anchored facet does not sum to zero; its free levels keep their prior, of mean 0.
      allow_disconnected: fit subsets together although only the priors join them. Those of random
        effects join no judges and rubric items: use ridge.
      tolerance: on the largest change of any logit in an iteration (not ridge: and of any log
        variance); None for 5e-5 in float32 and 1e-9 in float64.
      max_iterations: steps tried, each a pass over the ratings.
      compiled: True for a compiled program (of float32, unless JAX's float64 is enabled), which a
        shape pays for once; False for NumPy; None for NumPy unless there are more ratings, a value
        is traced, or an array lies on an accelerator or on several devices.

    Returns:
      `Fit`; see its `converged`, `status` and `message`.

    Raises:
      ValueError: naming the argument, for shapes, options, counts, levels without ratings, a
        single category, and what would not fit into memory.
      DisconnectedError: a ValueError with the subsets. Levels with a random effect (but of
        ridge: questions; with center "grand" or "zero" models too) need no ratings that join.
    """
    if center not in CENTERS:
        raise ValueError(f"center must be one of {', '.join(CENTERS)}, found {center!r}")
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, found {model!r}")
    if method is None:
        method = "quadrature" if precision is None else "ridge"
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, found {method!r}")
    if method != "ridge" and precision is not None:
        raise ValueError(
            f"method {method!r} estimates its precisions: leave precision out, or choose 'ridge'"
        )
    precision = Precision() if precision is None else precision
    refuse_options(precision, tolerance, max_iterations)
    given = (successes, trials, anchors, precision, tolerance, max_iterations)
    if compiled is None:
        compiled = math.prod(np.shape(successes)) > MOST_ON_HOST or on_devices(given)
    with xp.on_host(not compiled):
        counts = rating_counts.as_counts(successes, trials, model)
        dtype, shape = counts[0].dtype, counts[0].shape[:4]
        fixed = anchoring.as_anchors(anchors, dict(zip(FACETS, shape, strict=True)), dtype)
        mesh = explicit_mesh(*counts) if compiled else None
        if not xp.traced((counts, fixed)):
            refuse_dense(
                counts[0].shape,
                dtype.itemsize,
                partial_credit=model == "partial_credit",
                points=POINTS if method == "quadrature" else 0,
            )
            # Only what has no prior is joined by ratings alone; the ridge's priors are the user's.
            random = ["question", *(["model"] if center != "model" else [])]
            random = random if method != "ridge" else []
            refuse_values(counts, model, fixed, allow_disconnected, random, mesh)
        if tolerance is None:
            tolerance = 1e-9 if dtype == np.float64 else 5e-5
        return over_mesh(estimate, mesh, model=model, center=center, method=method)(
            counts,
            jax.tree.map(lambda value: xp.asarray(value, dtype), precision),
            fixed,
            xp.asarray(tolerance, dtype),
            xp.asarray(max_iterations, np.int32),
        )


def on_devices(given: object) -> bool:
    """Tells whether a value is traced, or an array on an accelerator or on several devices."""

    def placed(leaf: object) -> bool:
        if isinstance(leaf, jax.core.Tracer):
            return True
        if not isinstance(leaf, jax.Array):
            return False
        devices = leaf.devices()
        return len(devices) > 1 or next(iter(devices)).platform != "cpu"

    return any(placed(leaf) for leaf in jax.tree.leaves(given))
