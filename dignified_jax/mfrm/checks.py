"""Refusals of `fit`, made at once because its values can be read, and where they can't."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import jax
import numpy as np

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.connectivity import DisconnectedError, rated_levels, subsets_of
from dignified_jax.mfrm.input import anchors as anchoring
from dignified_jax.mfrm.input import counts as rating_counts
from dignified_jax.mfrm.mesh import over_mesh
from dignified_jax.mfrm.result import Precision
from dignified_jax.mfrm.solver import ordinal
from dignified_jax.mfrm.solver.blocks import Totals, as_blocks, totals
from dignified_jax.mfrm.solver.estimate import ResponseModel


def refuse_options(
    precision: Precision,
    tolerance: jax.typing.ArrayLike | None,
    max_iterations: jax.typing.ArrayLike,
) -> None:
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
        if xp.traced(value):
            continue
        if np.ndim(value):
            raise ValueError(f"{name} must be a scalar, found shape {np.shape(value)}")
        value = float(value)
        if not (np.isfinite(value) and (value > 0 if strictly else value >= 0)):
            wanted = "positive" if strictly else "at least 0"
            raise ValueError(f"{name} must be finite and {wanted}, found {value}")


def refuse_values(
    counts: tuple[jax.Array, ...],
    model: ResponseModel,
    fixed: Mapping[str, jax.Array],
    allow_disconnected: bool,
    random: Collection[str],
    mesh: jax.sharding.AbstractMesh | None,
) -> None:
    """Raises ValueError for bad counts, anchors, empty levels, one category, subsets.

    `random` names the facets whose levels are drawn from a population, which joins them.
    """
    sums, categories = over_mesh(_summarise, mesh, model=model)(counts)
    if sums.faulty:
        rating_counts.refuse_faults(*counts)
    anchoring.refuse_anchors(fixed)
    rating_counts.refuse_empty(rated_levels(sums))
    if categories is not None:
        rating_counts.refuse_one_category(np.asarray(categories))
    if not allow_disconnected:
        known = {facet: ~np.isnan(values) for facet, values in fixed.items()}
        joined = known | {facet: np.asarray(True) for facet in random if facet not in fixed}
        if subsets_of(sums, joined):
            raise DisconnectedError(subsets_of(sums, known))


@xp.program("model")
def _summarise(
    counts: tuple[jax.Array, ...], model: ResponseModel
) -> tuple[Totals, jax.Array | None]:
    """Sums over the ratings, and of ordinal ones the numbers in each category (K,)."""
    if model == "binomial":
        return totals(as_blocks(*counts)), None
    blocks = ordinal.as_blocks(*counts, common=True)
    return totals(blocks), counts[0].sum(axis=(0, 1, 2, 3))
