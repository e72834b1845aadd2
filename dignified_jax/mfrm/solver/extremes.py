"""Cells and levels with only successes or only failures, which have no finite estimate."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, MIXED, UNRATED, Extreme
from dignified_jax.mfrm.solver.blocks import Totals


def extremes(totals: Totals, judges: int) -> Extreme:
    """Codes of cells and levels."""
    # Sums of what never occurs are exactly 0, whatever the rounding of the others.
    failures = totals.most - totals.successes

    def code(pick: Callable[[jax.Array], jax.Array]) -> jax.Array:
        conditions = [pick(totals.most) == 0, pick(failures) == 0, pick(totals.successes) == 0]
        codes = [jnp.int8(UNRATED), jnp.int8(ALL_SUCCESSES), jnp.int8(ALL_FAILURES)]
        return jnp.select(conditions, codes, jnp.int8(MIXED))

    return Extreme(
        cell=code(lambda sums: sums[:, :judges].sum(axis=1)),
        model=code(lambda sums: sums[:, :judges].sum(axis=(1, 2))),
        question=code(lambda sums: sums[:, :judges].sum(axis=(0, 1))),
        judge=code(lambda sums: sums[:, :judges].sum(axis=(0, 2))),
        rubric=code(lambda sums: sums[:, judges:].sum(axis=(0, 2))),
    )
