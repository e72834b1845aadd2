"""Ratings as arrays: what is accepted, what is refused and by which name, what is extreme."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.mfrm.blocks import Totals
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, FACETS, MIXED, UNRATED, Extreme


def as_counts(
    successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
    """(model, question, judge, rubric) successes and trials, in one floating type.

    That is float64 where it is enabled and any input has it or is of integers, else float32.

    Raises:
      ValueError: for a wrong number of axes, an axis of length 0 or shapes that differ.
    """
    successes = jnp.asarray(successes)
    if successes.ndim != 4:
        raise ValueError(
            "successes must have 4 axes (model, question, judge, rubric), found shape "
            f"{successes.shape}"
        )
    for facet, size in zip(FACETS, successes.shape, strict=True):
        if size == 0:
            raise ValueError(f"successes has no {facet}: its shape is {successes.shape}")
    given = [successes]
    if trials is not None:
        trials = jnp.asarray(trials)
        given.append(trials)
        if trials.shape != successes.shape:
            raise ValueError(
                f"trials must have the shape of successes, {successes.shape}, found {trials.shape}"
            )
    for name, values in zip(("successes", "trials"), given, strict=False):
        if not (values.dtype == bool or jnp.issubdtype(values.dtype, jnp.number)) or (
            jnp.issubdtype(values.dtype, jnp.complexfloating)
        ):
            raise ValueError(f"{name} must hold counts, found {values.dtype}")
    floating = [array.dtype for array in given if jnp.issubdtype(array.dtype, jnp.floating)]
    dtype = jnp.result_type(*floating, jnp.float32) if floating else jnp.zeros(()).dtype
    successes = successes.astype(dtype)
    trials = jnp.ones_like(successes) if trials is None else trials.astype(dtype)
    return successes, trials


def faults(successes: jax.Array, trials: jax.Array) -> dict[str, jax.Array]:
    """Kind of fault -> bool array of the ratings' shape."""
    return {
        "successes is not finite": ~jnp.isfinite(successes),
        "trials is not finite": ~jnp.isfinite(trials),
        "successes is negative": successes < 0,
        "trials is negative": trials < 0,
        "successes is fractional": successes != jnp.round(successes),
        "trials is fractional": trials != jnp.round(trials),
        "successes exceeds trials": successes > trials,
    }


def extremes(totals: Totals, judges: int) -> Extreme:
    """Codes of cells and levels."""
    # Sums of what never occurs are exactly 0, whatever the rounding of the others.
    failures = totals.trials - totals.successes

    def code(pick: Callable[[jax.Array], jax.Array]) -> jax.Array:
        conditions = [pick(totals.trials) == 0, pick(failures) == 0, pick(totals.successes) == 0]
        codes = [jnp.int8(UNRATED), jnp.int8(ALL_SUCCESSES), jnp.int8(ALL_FAILURES)]
        return jnp.select(conditions, codes, jnp.int8(MIXED))

    return Extreme(
        cell=code(lambda sums: sums[:, :judges].sum(axis=1)),
        model=code(lambda sums: sums[:, :judges].sum(axis=(1, 2))),
        question=code(lambda sums: sums[:, :judges].sum(axis=(0, 1))),
        judge=code(lambda sums: sums[:, :judges].sum(axis=(0, 2))),
        rubric=code(lambda sums: sums[:, judges:].sum(axis=(0, 2))),
    )


def refuse_faults(successes: jax.Array, trials: jax.Array) -> None:
    """Raises ValueError naming the first bad value of each kind."""
    problems = []
    for kind, found in faults(successes, trials).items():
        if found.any():
            where = tuple(int(i) for i in np.argwhere(np.asarray(found))[0])
            position = ", ".join(f"{f} {i}" for f, i in zip(FACETS, where, strict=True))
            problems.append(
                f"{kind} at [{position}]: successes {successes[where]}, trials {trials[where]} "
                f"({int(found.sum())} in all)"
            )
    raise ValueError(
        "ratings must be whole numbers with 0 <= successes <= trials (trials 0: not rated); "
        + "; ".join(problems)
    )


def refuse_empty(extreme: Extreme) -> None:
    """Raises ValueError naming the levels without ratings."""
    problems = []
    for facet in FACETS:
        empty = np.flatnonzero(np.asarray(getattr(extreme, facet)) == UNRATED).tolist()
        if empty:
            shown = ", ".join(map(str, empty[:8])) + (", ..." if len(empty) > 8 else "")
            problems.append(f"{facet} {shown}")
    if problems:
        raise ValueError(
            f"no ratings (trials are all 0) for {'; '.join(problems)}: leave these levels out"
        )
