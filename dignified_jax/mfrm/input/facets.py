"""Facets by name: which column plays which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dignified_jax.mfrm.result import FACETS


def facet_columns(
    facets: Sequence[str], given: Mapping[str, str | None]
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """(facet -> column, columns of further facets) from columns in the order of their parts.

    The first is scored, the second its occasions, with a random effect of their own and one of each
    scored level on each occasion; the third judges, the fourth are rubric items. With fewer the
    rest is None: one level without a name. Further ones add to the logit as rubric items do. An
    occasion named "-" stands for none.

    Args:
      facets: names of columns.
      given: facet -> column that was given besides; must be the default.

    Raises:
      ValueError: for fewer than two facets, one that stands twice, and columns given both ways.
    """
    named = [name for name in facets if name != "-"]
    if len(named) < 2:
        raise ValueError(f"facets must name at least two columns, found {list(facets)}")
    double = next((name for name in named if named.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"facets name {double!r} twice")
    if facets[0] == "-" or "-" in facets[2:]:
        raise ValueError('facets: only the second may be "-", for no occasions')
    changed = [facet for facet in FACETS if given[facet] != facet]
    if changed:
        raise ValueError(f"facets name all columns: leave {', '.join(changed)} out")
    padded = [*(None if name == "-" else name for name in facets), *[None] * len(FACETS)]
    return dict(zip(FACETS, padded, strict=False)), tuple(facets[len(FACETS) :])
