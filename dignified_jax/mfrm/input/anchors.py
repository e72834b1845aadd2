"""Levels with known values: they fix a facet's scale in place of its zero sum."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.mfrm import arrays as xp

ANCHORABLE = ("judge", "rubric", "question")
Anchors = Mapping[str, jax.typing.ArrayLike]


def as_anchors(
    anchors: Anchors | None, sizes: Mapping[str, int], dtype: xp.dtype
) -> dict[str, jax.Array]:
    """Facet -> (level,) severities or difficulties, NaN for the levels to estimate.

    Raises:
      ValueError: for an unknown facet or a wrong shape.
    """
    result = {}
    for facet, values in (anchors or {}).items():
        if facet not in ANCHORABLE:
            raise ValueError(f"anchors may name {', '.join(ANCHORABLE)}, found {facet!r}")
        # Of NumPy where it can be, so that double precision is kept whatever JAX has enabled.
        array = (jnp if xp.traced(values) else np).asarray(values, dtype)
        if array.shape != (sizes[facet],):
            raise ValueError(
                f"anchors[{facet!r}] must have shape ({sizes[facet]},), one value a level and NaN "
                f"for the free ones, found {array.shape}"
            )
        result[facet] = array
    return result


def refuse_anchors(anchors: Mapping[str, jax.Array]) -> None:
    """Raises ValueError for an infinite value, or a facet without any value."""
    for facet, values in anchors.items():
        values = np.asarray(values)
        if np.isinf(values).any():
            level = int(np.flatnonzero(np.isinf(values))[0])
            raise ValueError(f"anchors[{facet!r}] is infinite at level {level}")
        if np.isnan(values).all():
            raise ValueError(f"anchors[{facet!r}] fixes no level: leave the facet out")


def any_bad(anchors: Mapping[str, jax.Array]) -> jax.Array:
    """Scalar bool: what `refuse_anchors` refuses."""
    bad = [xp.isinf(values).any() | xp.isnan(values).all() for values in anchors.values()]
    return xp.any(xp.stack(bad)) if bad else xp.asarray(False)
