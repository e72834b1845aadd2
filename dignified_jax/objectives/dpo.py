"""Implicit rewards, margins and losses of DPO with one golden and one reject per dimension.

Arrays have a response axis of length 1 + K: golden first, then the reject of each dimension.
With s the log-ratio log pi(y|x) - log pi_ref(y|x),

    margin_ik = beta (s_i,golden - s_i,k)        loss_ik = -log sigmoid(margin_ik)

Rafailov et al., "Direct Preference Optimization" (2023), equation 7.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def margins(log_ratios: jax.Array, beta: float) -> jax.Array:
    """(example, 1 + K) log-ratios to (example, K) reward margins of golden over each reject."""
    return beta * (log_ratios[:, :1] - log_ratios[:, 1:])


def pair_mask(response_mask: jax.Array) -> jax.Array:
    """(example, 1 + K) bool to (example, K) bool: golden and the reject both exist."""
    return response_mask[:, :1] & response_mask[:, 1:]


def pair_counts(response_mask: jax.Array) -> jax.Array:
    """(K,) float32 number of pairs in each dimension."""
    return pair_mask(response_mask).sum(axis=0).astype(jnp.float32)


def pair_losses(log_ratios: jax.Array, response_mask: jax.Array, beta: float) -> jax.Array:
    """(example, K) losses -log sigmoid(margin), zero where there is no pair."""
    return margin_losses(margins(log_ratios, beta), pair_mask(response_mask))


def margin_losses(pair_margins: jax.Array, mask: jax.Array) -> jax.Array:
    """(example, K) margins to losses -log sigmoid(margin), zero outside `mask`."""
    # -log sigmoid(m) = softplus(-m); masked margins are zeroed first so that no gradient, and
    # no overflow, can come from entries that do not exist.
    safe = jnp.where(mask, pair_margins, 0.0)
    return jnp.where(mask, jax.nn.softplus(-safe), 0.0)


def dimension_losses(
    log_ratios: jax.Array, response_mask: jax.Array, counts: jax.Array, beta: float
) -> jax.Array:
    """Mean loss of each dimension, L_k = sum_i loss_ik / counts_k; 0 for an absent dimension.

    Args:
      log_ratios: (example, 1 + K) float32.
      response_mask: (example, 1 + K) bool. May cover only a part of the batch (a device's rows,
        one accumulation step): the results of all parts then add up to L_k.
      counts: (K,) pairs of the whole batch, from `pair_counts`.
      beta: inverse temperature of the implicit reward.

    Returns:
      (K,) float32.
    """
    sums = pair_losses(log_ratios, response_mask, beta).sum(axis=0)
    return sums / jnp.maximum(counts, 1.0)
