"""Implicit rewards, margins and losses of DPO with one golden and one reject per dimension.

Arrays have a response axis of length 1 + K: golden first, then the reject of each dimension.
With s the log-ratio log pi(y|x) - log pi_ref(y|x),

    margin_ik = beta (s_i,golden - s_i,k)        loss_ik = -log sigmoid(margin_ik)

Rafailov et al., "Direct Preference Optimization" (2023), equation 7.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def margins(
    log_ratios: Float[Array, "example response"], beta: float
) -> Float[Array, "example dimension"]:
    """Returns the reward margins of golden over each reject."""
    return beta * (log_ratios[:, :1] - log_ratios[:, 1:])


def pair_mask(
    response_mask: Bool[Array, "example response"],
) -> Bool[Array, "example dimension"]:
    """Returns True where golden and the reject both exist."""
    return response_mask[:, :1] & response_mask[:, 1:]


def pair_counts(
    response_mask: Bool[Array, "example response"],
) -> Float[Array, " dimension"]:
    """Returns the number of pairs in each dimension."""
    return pair_mask(response_mask).sum(axis=0).astype(jnp.float32)


def pair_losses(
    log_ratios: Float[Array, "example response"],
    response_mask: Bool[Array, "example response"],
    beta: float,
) -> Float[Array, "example dimension"]:
    """Returns the losses -log sigmoid(margin), zero where there is no pair."""
    return margin_losses(margins(log_ratios, beta), pair_mask(response_mask))


def margin_losses(
    pair_margins: Float[Array, "example dimension"], mask: Bool[Array, "example dimension"]
) -> Float[Array, "example dimension"]:
    """Returns the losses -log sigmoid(margin), zero outside `mask`."""
    # -log sigmoid(m) = softplus(-m); masked margins are zeroed first so that no gradient, and
    # no overflow, can come from entries that do not exist.
    safe = jnp.where(mask, pair_margins, 0.0)
    return jnp.where(mask, jax.nn.softplus(-safe), 0.0)


def dimension_losses(
    log_ratios: Float[Array, "example response"],
    response_mask: Bool[Array, "example response"],
    counts: Float[Array, " dimension"],
    beta: float,
) -> Float[Array, " dimension"]:
    """Returns the mean loss of each dimension, sum_i loss_ik / counts_k; 0 for an absent one.

    Args:
      log_ratios: of the responses.
      response_mask: may cover only a part of the batch (a device's rows,
        one accumulation step): the results of all parts then add up to L_k.
      counts: pairs of the whole batch, from `pair_counts`.
      beta: inverse temperature of the implicit reward.
    """
    sums = pair_losses(log_ratios, response_mask, beta).sum(axis=0)
    return sums / jnp.maximum(counts, 1.0)
