"""Ratings as arrays: what is accepted, what is refused, and by which name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.console.labels import clip
from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import FACETS, level_name


class EmptyLevelsError(ValueError):
    """Raised by `fit` for levels without ratings.

    Attributes:
      levels: facet -> numbers of the levels, for each facet with any.
    """

    def __init__(self, levels: Mapping[str, Sequence[int]]):
        self.levels = levels
        super().__init__(self.described())

    def described(self, labels: Mapping[str, Sequence[object]] | None = None) -> str:
        """The message, with levels by label (facet -> labels) or number."""
        listed = []
        for facet, empty in self.levels.items():
            names = [
                str(n) if labels is None else clip(level_name(labels[facet][n])) for n in empty[:8]
            ]
            listed.append(f"{facet} {', '.join(names)}{', ...' if len(empty) > 8 else ''}")
        return f"no ratings (trials are all 0) for {'; '.join(listed)}: leave these levels out"


def as_counts(
    successes: jax.typing.ArrayLike, trials: jax.typing.ArrayLike | None, model: str = "binomial"
) -> tuple[jax.Array, ...]:
    """(successes, trials) of the binomial model, or (counts by category,), in one floating type.

    That is float64 on the host, or where it is enabled and any input has it or is of integers, else
    float32.

    Raises:
      ValueError: for a wrong number of axes, an axis of length 0 or shapes that differ.
    """
    successes = _as_array(successes)
    axes = FACETS if model == "binomial" else (*FACETS, "category")
    if successes.ndim != len(axes):
        raise ValueError(
            f"successes must have {len(axes)} axes ({', '.join(axes)}) with model {model!r}, "
            f"found shape {successes.shape}"
        )
    for axis, size in zip(axes, successes.shape, strict=True):
        if size == 0:
            raise ValueError(f"successes has no {axis}: its shape is {successes.shape}")
    arrays = {"successes": successes}
    if model != "binomial":
        if trials is not None:
            raise ValueError(f"trials can't be given with model {model!r}: counts hold them")
        if successes.shape[-1] < 2:
            raise ValueError(f"successes has one category only: its shape is {successes.shape}")
    elif trials is not None:
        trials = arrays["trials"] = _as_array(trials)
        if trials.shape != successes.shape:
            raise ValueError(
                f"trials must have the shape of successes, {successes.shape}, found {trials.shape}"
            )
    for name, values in arrays.items():
        if not (values.dtype == bool or jnp.issubdtype(values.dtype, jnp.number)) or (
            jnp.issubdtype(values.dtype, jnp.complexfloating)
        ):
            raise ValueError(f"{name} must hold counts, found {values.dtype}")
    floating = [a.dtype for a in arrays.values() if jnp.issubdtype(a.dtype, jnp.floating)]
    dtype = xp.floating_type(*floating)
    successes = successes.astype(dtype)
    if model != "binomial":
        return (successes,)
    return successes, xp.ones_like(successes) if trials is None else trials.astype(dtype)


def _as_array(values: jax.typing.ArrayLike) -> jax.Array:
    """Values as an array; JAX without its 64 bits would have counts from 2^31 on wrap around."""
    if not isinstance(values, jax.Array) and not xp.traced(values):
        values = np.asarray(values)
        if values.dtype in (np.int64, np.uint64):
            values = values.astype(np.float64)
    return xp.asarray(values)


def faults(successes: jax.Array, trials: jax.Array | None = None) -> dict[str, jax.Array]:
    """Kind of fault -> bool array of the ratings' shape."""
    arrays = {"successes": successes}
    if trials is not None:
        arrays["trials"] = trials
    found = {f"{name} is not finite": ~xp.isfinite(a) for name, a in arrays.items()}
    found |= {f"{name} is negative": a < 0 for name, a in arrays.items()}
    found |= {f"{name} is fractional": a != xp.round(a) for name, a in arrays.items()}
    if trials is not None:
        found["successes exceeds trials"] = successes > trials
    return found


def refuse_faults(successes: jax.Array, trials: jax.Array | None = None) -> None:
    """Raises ValueError naming the first bad value of each kind."""
    problems = []
    for kind, found in faults(successes, trials).items():
        if found.any():
            where = tuple(int(i) for i in np.argwhere(np.asarray(found))[0])
            axes = (*FACETS, "category")[: len(where)]
            position = ", ".join(f"{f} {i}" for f, i in zip(axes, where, strict=True))
            beside = "" if trials is None else f", trials {trials[where]}"
            problems.append(
                f"{kind} at [{position}]: successes {successes[where]}{beside} "
                f"({int(found.sum())} in all)"
            )
    wanted = "at least 0" if trials is None else "with 0 <= successes <= trials"
    raise ValueError(
        f"ratings must be whole numbers {wanted} (not rated: 0 of 0); " + "; ".join(problems)
    )


def refuse_one_category(numbers: np.ndarray) -> None:
    """Raises ValueError where all ratings are in one category; (K,) numbers of ratings in each."""
    if np.count_nonzero(numbers) == 1:
        raise ValueError(
            f"all ratings are in one category, {int(np.argmax(numbers))} counted from 0: there is "
            "nothing to compare"
        )


def refuse_empty(rated: Mapping[str, np.ndarray]) -> None:
    """Raises EmptyLevelsError for levels without ratings; facet -> (L,) numbers of ratings."""
    levels = {facet: np.flatnonzero(rated[facet] == 0).tolist() for facet in FACETS}
    if any(levels.values()):
        raise EmptyLevelsError({facet: empty for facet, empty in levels.items() if empty})
