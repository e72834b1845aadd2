"""What `fit` refuses at once because its values can be read, and where they can't."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dignified_jax.mfrm.connectivity import DisconnectedError, subsets_of
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver import ordinal
from dignified_jax.mfrm.solver.blocks import totals
from dignified_jax.mfrm.solver.estimate import Model, blocks_of
from dignified_jax.mfrm.solver.extremes import extremes
from dignified_jax.mfrm.solver.mesh import over_mesh


def traced(tree) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def refuse_options(precision: Precision, tolerance, max_iterations) -> None:
    """Raises ValueError for options whose values can be read and make no sense."""
    if not isinstance(precision, Precision):
        raise ValueError(f"precision must be a mfrm.Precision, found {precision!r}")
    bounds = {
        f"precision.{name}": (value, name == "theta") for name, value in vars(precision).items()
    }
    if tolerance is not None:
        bounds["tolerance"] = (tolerance, True)
    bounds["max_iterations"] = (max_iterations, True)
    for name, (value, strictly) in bounds.items():
        if traced(value):
            continue
        if np.ndim(value):
            raise ValueError(f"{name} must be a scalar, found shape {np.shape(value)}")
        value = float(value)
        if not (np.isfinite(value) and (value > 0 if strictly else value >= 0)):
            wanted = "positive" if strictly else "at least 0"
            raise ValueError(f"{name} must be finite and {wanted}, found {value}")


def refuse_values(
    counts: tuple[jax.Array, ...],
    model: Model,
    fixed: Mapping[str, jax.Array],
    allow_disconnected: bool,
    mesh: Any,
) -> None:
    """Raises ValueError for bad counts, anchors, empty levels or categories, subsets."""
    sums, extreme, unobserved = over_mesh(_summarise, mesh, model=model)(counts)
    if sums.faulty:
        rating_counts.refuse_faults(*counts)
    anchoring.refuse_anchors(fixed)
    rating_counts.refuse_empty(extreme)
    if unobserved is not None:
        rating_counts.refuse_unobserved(np.asarray(unobserved), model)
    if not allow_disconnected:
        known = {facet: ~np.isnan(values) for facet, values in fixed.items()}
        found = subsets_of(sums, known)
        if found:
            raise DisconnectedError(found)


@functools.partial(jax.jit, static_argnames="model")
def _summarise(counts: tuple[jax.Array, ...], model: Model):
    blocks = blocks_of(counts, model)
    sums = totals(blocks)
    unobserved = ordinal.unobserved(blocks) if blocks.scales else None
    return sums, extremes(sums, blocks.judges), unobserved
