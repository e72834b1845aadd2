"""Ordinal ratings of a list: the model of `solver.ordinal`, a rating in one category an entry.

With x the logit of a rating in category y and steps d that add to it, P(k) is in proportion to
exp(k x + d_1 + ... + d_k). With E and V the mean and variance of the category,

    residual = y - E      weight = V
    of step k:  1[y >= k] - P(X >= k)
    coupling h_k = Cov(X, X >= k)      block B_kl = sum over ratings of Cov(X >= k, X >= l)
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dignified_jax.mfrm.sparse.rating_list import RatingList


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepSums:
    """Sums that a Newton step needs of S sets of K - 1 steps.

    Attributes:
      coupling: (K - 1, N) h.
      residual: (S, K - 1) sums.
      block: (S, K - 1, K - 1) B.
    """

    coupling: jax.Array
    residual: jax.Array
    block: jax.Array


def sums(
    ratings: RatingList, kept: jax.Array, x: jax.Array, step: jax.Array
) -> tuple[jax.Array, jax.Array, StepSums]:
    """(N,) residuals, (N,) weights and sums of the steps, at (N,) logits and (S, K - 1) steps.

    Ratings with `kept` (N,) 0 count for nothing.
    """
    p = jnp.exp(log_chances(ratings, x, step))
    category = jnp.arange(len(p), dtype=x.dtype)
    mean = category @ p
    weight = kept * (p * (category[:, None] - mean) ** 2).sum(axis=0)
    # Either tail from its own terms: nothing cancels where one category is all but sure.
    at_least = (category >= category[1:, None]).astype(x.dtype)
    apart = jnp.abs(category - category[1:, None] + 0.5)
    upper, lower = at_least @ p, (1.0 - at_least) @ p  # P(X >= k), P(X < k)
    # Around k - 1/2, which lies between the two parts: no term is negative.
    coupling = lower * ((at_least * apart) @ p) + upper * (((1.0 - at_least) * apart) @ p)
    reached = ratings.successes >= category[1:, None]
    block = jax.lax.map(lambda row: ratings.by_set(row * lower), kept * upper)  # for k >= l
    block = jnp.tril(jnp.moveaxis(block, 0, 1))
    return (
        kept * ((ratings.successes - category[:, None]) * p).sum(axis=0),
        weight,
        StepSums(
            coupling=kept * coupling,
            residual=ratings.step_used * ratings.by_set(kept * jnp.where(reached, lower, -upper)),
            block=block + jnp.tril(block, -1).swapaxes(1, 2),
        ),
    )


def log_chances(ratings: RatingList, x: jax.Array, step: jax.Array) -> jax.Array:
    """(K, N) log-probabilities of the categories; -inf where a set has fewer."""
    taken = jnp.cumsum(jnp.where(ratings.step_used > 0, step, -jnp.inf), axis=1)
    taken = ratings.at_set(jnp.pad(taken, ((0, 0), (1, 0))))
    category = jnp.arange(step.shape[1] + 1, dtype=x.dtype)
    return jax.nn.log_softmax(category[:, None] * x + taken, axis=0)


def log_likelihood(
    ratings: RatingList, kept: jax.Array, x: jax.Array, step: jax.Array
) -> jax.Array:
    """Scalar sum over the ratings that are kept."""
    own = ratings.successes.astype(jnp.int32)
    log_p = jnp.take_along_axis(log_chances(ratings, x, step), own[None], axis=0)[0]
    return jnp.where(kept > 0, log_p, 0.0).sum()
