"""Preference metrics under the names that DPO users know, whole and per dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from dignified_jax.models.experts import ExpertLoad
from dignified_jax.objectives import Objective, dpo, golden

# Values under this prefix are (K,) arrays, one entry a dimension; `flatten` names them.
PER_DIMENSION = "per_dimension/"


def preference(
    policy_log_probs: Float[Array, "example response"],
    reference_log_probs: Float[Array, "example response"],
    response_mask: Bool[Array, "example response"],
    objective: Objective,
) -> dict[str, jax.Array]:
    """Returns means over pairs; of a multi-reject example golden counts once a pair, as in TRL.

    Args:
      policy_log_probs, reference_log_probs: summed over the tokens of each response.
      response_mask: True where there is a response.
      objective: gives beta; those without a reference have no rewards.

    Returns:
      Scalars, and (K,) arrays under ``per_dimension/``. An accuracy counts a tie as 1/2.
    """
    pairs = dpo.pair_mask(response_mask)
    shape = pairs.shape
    values = {
        "logps/chosen": jnp.broadcast_to(policy_log_probs[:, :1], shape),
        "logps/rejected": policy_log_probs[:, 1:],
    }
    if objective.needs_reference:
        rewards = objective.beta * (policy_log_probs - reference_log_probs)
        margins = rewards[:, :1] - rewards[:, 1:]
        values |= {
            "rewards/chosen": jnp.broadcast_to(rewards[:, :1], shape),
            "rewards/rejected": rewards[:, 1:],
            "rewards/margins": margins,
            "rewards/accuracies": (jnp.sign(margins) + 1.0) / 2.0,
        }
    counts = pairs.sum(axis=0).astype(jnp.float32)
    result = {PER_DIMENSION + "pairs": counts, "pairs": counts.sum()}
    for name, value in values.items():
        sums = jnp.where(pairs, value, 0.0).sum(axis=0)
        result[name] = sums.sum() / jnp.maximum(counts.sum(), 1.0)
        result[PER_DIMENSION + name] = sums / jnp.maximum(counts, 1.0)
    return result


def of_golden(
    means: Mapping[str, ArrayLike],
    mask: Bool[Array | np.ndarray, "example response"],
    lengths: Int[Array | np.ndarray, "example response"],
    objective: Objective,
) -> dict[str, float]:
    """Returns the golden's NLL and how far its log-prob has drifted, in nats per token.

    Both are means over tokens, a golden counting once for each of its pairs, as in the term
    `golden_nll`. A negative drift is the fall of the chosen rewards: golden has become less likely
    than under the reference. Empty for objectives without a reference, and without a pair.

    Args:
      means: from `preference`, or flattened.
      mask, lengths: of the responses.
      objective: gives beta.
    """
    tokens = float(golden.token_count(jnp.asarray(mask), jnp.asarray(lengths)))
    if not tokens or not objective.needs_reference or not objective.beta:
        return {}
    per_token = float(means["pairs"]) / tokens
    return {
        "golden_nll": -float(means["logps/chosen"]) * per_token,
        "golden_drift": float(means["rewards/chosen"]) / objective.beta * per_token,
    }


def experts(load: ExpertLoad | None) -> dict[str, jax.Array]:
    """Returns how evenly a batch's tokens went to the experts; nothing for models without them.

    The balance loss (`ExpertLoad.balance_loss`), and the load of the busiest expert over the mean
    of its layer.
    """
    if load is None:
        return {}
    return {"experts/balance_loss": load.balance_loss(), "experts/busiest": load.busiest()}


def flatten(report: dict[str, Any], dimensions: tuple[str, ...], prefix: str = "") -> dict:
    """Returns device metrics as plain floats: ``per_dimension/loss`` becomes ``loss/A`` and so on.

    Means over pairs that a batch does not have are left out rather than logged as 0.
    """
    host = {name: np.asarray(value) for name, value in report.items()}
    present = host.get(PER_DIMENSION + "pairs", np.ones(len(dimensions))) > 0
    flat: dict[str, float] = {}
    for name, value in host.items():
        short = name.removeprefix(PER_DIMENSION)
        if short == name:
            flat[prefix + name] = value.item()
            continue
        for index, dimension in enumerate(dimensions):
            if present[index] or short in ("lambda", "pairs"):
                flat[f"{prefix}{short}/{dimension}"] = float(value[index])
    return flat
