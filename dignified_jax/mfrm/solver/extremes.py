"""Levels without a finite estimate, and the ratings that are left without theirs.

A model with only successes has an infinite score, and without a prior so has a judge or item. In
that limit its ratings weigh nothing, and the rest is what it would be without them; but without
them other levels may be extreme: a judge who says yes to all but a model that fails with all. So
levels are taken out until none of those left is extreme, models first. (FACETS does the same.)

Of ordered categories, those that no rating left in uses are closed up, on each item's own scale
or on the common one: the step between the categories around one takes the place of two.
"""

from __future__ import annotations

import dataclasses

import jax

from dignified_jax.mfrm import arrays as xp
from dignified_jax.mfrm.result import ALL_FAILURES, ALL_SUCCESSES, MIXED, UNRATED

Codes = dict[str, jax.Array]
AXES = {"model": 0, "judge": 1, "rubric": 2}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Selection:
    """Levels and categories that a fit is made of: M models, J judges, I items, K categories.

    Attributes:
      model: (M,) bool, False where taken out as extreme.
      judge: (J,) bool.
      rubric: (I,) bool.
      observed: (I, K) bool, categories in use; all of binary ratings.
      codes: facet ("model", "judge", "rubric") -> int8 codes as in `mfrm.Extreme`, of a level
        that was taken out from when it was, of the others from what is left.
    """

    model: jax.Array
    judge: jax.Array
    rubric: jax.Array
    observed: jax.Array
    codes: Codes

    def pairs(self, dtype: xp.dtype) -> jax.Array:
        """(J, I) 1, or 0 for the ratings of a judge or item that was taken out."""
        return (self.judge[:, None] & self.rubric).astype(dtype)

    def steps(self) -> jax.Array:
        """(I,) number of steps of each item."""
        return xp.maximum(self.observed.sum(axis=1) - 1, 0)


def select(
    by_pair: jax.Array,
    *,
    ordinal: bool,
    common: bool,
    removable: dict[str, jax.Array],
    together: bool = False,
) -> Selection:
    """Takes extreme levels out.

    Args:
      by_pair: (M, J, I, K) numbers of ratings in each category, summed over questions.
      ordinal: whether unused categories are closed up.
      common: whether all items share a scale.
      removable: facet ("model", "judge", "rubric") -> bool by level: without a prior or an anchor.
      together: whether models have one intercept, infinite only if all are extreme alike.
    """
    sizes = {facet: by_pair.shape[axis] for facet, axis in AXES.items()}

    def look(inside: dict[str, jax.Array]) -> tuple[Codes, jax.Array]:
        return _codes(by_pair, inside, ordinal, common)

    def take_out(state):
        inside, codes, _ = state
        found = look(inside)[0]

        def leaving(facet: str) -> jax.Array:
            extreme = (found[facet] == ALL_SUCCESSES) | (found[facet] == ALL_FAILURES)
            return inside[facet] & removable[facet] & extreme

        gone = {"model": leaving("model")}
        if together:
            gone["model"] = gone["model"] & (found["model"] == found["model"][0]).all()
        wait = gone["model"].any()
        for facet in ("judge", "rubric"):
            out = leaving(facet)
            # The only level left of a facet is held by its zero sum.
            several = (inside[facet] & (found[facet] != UNRATED)).sum() > 1
            gone[facet] = out & ~wait & several
            wait = wait | gone[facet].any()
        codes = {f: xp.where(gone[f], found[f], codes[f]) for f in AXES}
        return {f: inside[f] & ~gone[f] for f in AXES}, codes, wait

    everything = {facet: xp.ones(size, bool) for facet, size in sizes.items()}
    first = look(everything)[0]
    state = (everything, first, xp.asarray(True))
    inside, codes, _ = xp.while_loop(lambda state: state[2], take_out, state)
    left, observed = look(inside)
    codes = {
        facet: xp.where(inside[facet] & (left[facet] != UNRATED), left[facet], codes[facet])
        for facet in AXES
    }
    return Selection(**inside, observed=observed, codes=codes)


def _codes(
    by_pair: jax.Array, inside: dict[str, jax.Array], ordinal: bool, common: bool
) -> tuple[Codes, jax.Array]:
    """Codes of the levels of the ratings that are inside, and (I, K) bool the categories in use."""
    kept = inside["model"][:, None, None] & inside["judge"][:, None] & inside["rubric"]
    counts = xp.where(kept[..., None], by_pair, 0.0)
    if ordinal:
        used = counts.sum(axis=(0, 1)) > 0
        observed = xp.broadcast_to(used.any(axis=0), used.shape) if common else used
    else:
        observed = xp.ones(counts.shape[2:], bool)
    rank = xp.cumsum(observed, axis=1) - 1
    rank, highest = xp.maximum(rank, 0), rank[:, -1:]
    score, missed = ((counts * size).sum(axis=-1) for size in (rank, highest - rank))
    number = counts.sum(axis=-1)
    most = number * highest[:, 0]
    category = xp.arange(counts.shape[-1])
    codes = {}
    for facet, axis in AXES.items():
        others = tuple(a for a in range(3) if a != axis)
        rated, *sums = (a.sum(axis=others) for a in (number, score, missed))
        code = extreme_code(rated, *sums)
        # An item with one category only has no scale of its own: the whole scale's middle tells.
        mean = (counts * category).sum(axis=(-1, *others)) / xp.maximum(rated, 1)
        side = xp.where(mean > category[-1] / 2, ALL_SUCCESSES, ALL_FAILURES).astype(xp.int8)
        codes[facet] = xp.where((rated > 0) & (most.sum(axis=others) == 0), side, code)
    return codes, observed


def extreme_code(rated: jax.Array, score: jax.Array, missed: jax.Array) -> jax.Array:
    """int8 codes from numbers of ratings, sums of scores and of what those are below the most."""
    # Sums of what never occurs are exactly 0, whatever the rounding of the others.
    conditions = [rated == 0, missed == 0, score == 0]
    codes = [xp.int8(UNRATED), xp.int8(ALL_SUCCESSES), xp.int8(ALL_FAILURES)]
    return xp.select(conditions, codes, xp.int8(MIXED))


def close_up(counts: jax.Array, observed: jax.Array) -> jax.Array:
    """(M, Q, J, I, K) counts with the categories in use first, in their order."""
    order = xp.argsort(~observed, axis=1, stable=True)
    return xp.take_along_axis(counts, order[None, None, None], axis=-1)


def open_up(step: jax.Array, observed: jax.Array) -> jax.Array:
    """Steps of closed-up categories, (S, K - 1), at the categories that they lead into.

    Entry k - 1 is the step into category k from the one in use below it: NaN where k is not in
    use, -inf where nothing below it is.
    """
    rank = xp.cumsum(observed, axis=1) - 1  # of each category among those in use
    into = xp.take_along_axis(step, xp.maximum(rank[:, 1:] - 1, 0), axis=1)
    into = xp.where(rank[:, 1:] == 0, -xp.inf, into)
    return xp.where(observed[:, 1:], into, xp.nan)


def categories_in_use(step: jax.Array) -> jax.Array:
    """(S, K) bool, from steps as `open_up` gives them."""
    above = ~xp.isnan(step)
    lowest = ~xp.isneginf(step).any(axis=1, keepdims=True)
    return xp.concatenate([lowest, above], axis=1)


def closed_steps(step: jax.Array) -> jax.Array:
    """(S, K - 1) steps with those that are finite first, then zeros: what `open_up` was given."""
    finite = xp.isfinite(step)
    order = xp.argsort(~finite, axis=1, stable=True)
    return xp.take_along_axis(xp.where(finite, step, 0.0), order, axis=1)
