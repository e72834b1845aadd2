"""The golden's token negative log-likelihood, which a training adds to an objective's own scalar.

It is outside every L_k: no multiplier answers to it, and no projection turns it.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dignified_jax.objectives import dpo
from dignified_jax.objectives.base import Objective


def token_count(
    mask: Bool[Array, "example response"], lengths: Int[Array, "example response"]
) -> Float[Array, ""]:
    """Returns the tokens of the goldens, each counted once for each pair that it is in."""
    return (_pairs(mask) * lengths[:, 0]).sum()


def token_nll(
    log_probs: Float[Array, "example response"],
    mask: Bool[Array, "example response"],
    lengths: Int[Array, "example response"],
) -> Float[Array, ""]:
    """Returns the mean over the goldens' tokens of -log pi, in nats; 0 where there is no pair.

    A golden counts once for each pair that it is in, so that a row of several rejects is the same
    as a row for each of them. This is the loss "sft" of TRL's DPO, which was its `rpo_alpha`.

    Args:
      log_probs: of the policy, summed over a response's tokens; 0 for those of other devices or
        accumulation steps, whose results then add up.
      mask, lengths: of the whole batch.
    """
    sums = _pairs(mask) * jnp.where(mask[:, 0], log_probs[:, 0], 0.0)
    return -sums.sum() / jnp.maximum(token_count(mask, lengths), 1.0)


def add(
    loss: Float[Array, ""],
    objective: Objective,
    log_probs: Float[Array, "example response"],
    mask: Bool[Array, "example response"],
    lengths: Int[Array, "example response"],
) -> Float[Array, ""]:
    """Returns `loss` + `objective.golden_nll` x `token_nll` of the other arguments."""
    if not objective.golden_nll:  # nothing is traced for a term that is off
        return loss
    return loss + objective.golden_nll * token_nll(log_probs, mask, lengths)


def _pairs(mask: Bool[Array, "example response"]) -> Float[Array, " example"]:
    """Pairs of each example."""
    return dpo.pair_mask(mask).sum(axis=1).astype(jnp.float32)
