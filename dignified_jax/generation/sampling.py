"""The next token from logits: greedy, or drawn at a temperature from the likeliest tokens."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dignified_jax.generation.settings import Settings

_ONE = 0x3F800000  # the bits of 1.0


@dataclasses.dataclass(frozen=True)
class Rule:
    """Names the parts of the choice that are compiled in, unlike the numbers of `Dials`.

    Attributes:
      greedy: the likeliest token.
      top_k: how many tokens are drawn from; None for all.
      nucleus: whether `Dials.top_p` leaves any out.
    """

    greedy: bool
    top_k: int | None
    nucleus: bool


class Dials(NamedTuple):
    """() float32 each."""

    temperature: jax.Array
    top_p: jax.Array


def rule_and_dials(settings: Settings) -> tuple[Rule, Dials]:
    """Returns how tokens are chosen."""
    rule = Rule(settings.temperature == 0, settings.top_k, settings.top_p < 1)
    return rule, Dials(jnp.float32(settings.temperature or 1), jnp.float32(settings.top_p))


def choose(
    logits: jax.Array, seeds: jax.Array, indices: jax.Array, rule: Rule, dials: Dials
) -> jax.Array:
    """Chooses a token of each row, () int32 of it alone, its seed and its index.

    Drawing adds Gumbel noise to the logits and takes the largest (Gumbel, 1954), so that equal
    rows draw equal tokens whatever else is in the batch.

    Args:
      logits: (row, vocabulary) float32.
      seeds: (row,) uint32, of each request.
      indices: (row,) int32, of the token in its response.
      rule, dials: how.

    Returns:
      (row,) int32.
    """
    if rule.greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    kept = keep_likely(logits / dials.temperature, rule, dials.top_p)

    def noise(seed: jax.Array, index: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), index)
        return jax.random.gumbel(key, logits.shape[1:], jnp.float32)

    return jnp.argmax(kept + jax.vmap(noise)(seeds, indices), axis=-1).astype(jnp.int32)


def keep_likely(logits: jax.Array, rule: Rule, top_p: jax.Array) -> jax.Array:
    """Returns the logits with -inf for tokens that are not drawn from: by `top_k`, then `top_p`.

    Of the rest `top_p` keeps the fewest likeliest ones that have at least this probability
    (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020). Tokens as likely as
    the last one that is kept are kept too.
    """
    if rule.top_k is not None and rule.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, rule.top_k)[0][..., -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if rule.nucleus:
        probabilities = jax.nn.softmax(logits)
        logits = jnp.where(_in_nucleus(probabilities, top_p), logits, -jnp.inf)
    return logits


def _in_nucleus(probabilities: jax.Array, mass: jax.Array) -> jax.Array:
    """Bisects for the largest threshold above which there is the mass; needs no sorting.

    The bits of floats that are not negative are in the order of the floats.
    """
    bits = jax.lax.bitcast_convert_type(probabilities, jnp.int32)

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends  # there is the mass at `low`, and is not at `high`
        middle = (low + high) // 2
        above = jnp.where(bits >= middle, probabilities, 0.0).sum(axis=-1, keepdims=True)
        enough = above >= mass
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    rows = (*probabilities.shape[:-1], 1)
    ends = jnp.zeros(rows, jnp.int32), jnp.full(rows, _ONE + 1, jnp.int32)
    return bits >= jax.lax.fori_loop(0, 31, halve, ends)[0]
