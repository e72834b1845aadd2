"""Preference metrics under the names that DPO users know, whole and per dimension."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dignified_jax.objectives import Method, dpo

# Values under this prefix are (K,) arrays, one entry a dimension; `flatten` names them.
PER_DIMENSION = "per_dimension/"


def preference(
    policy_log_probs: jax.Array,
    reference_log_probs: jax.Array,
    response_mask: jax.Array,
    method: Method,
) -> dict[str, jax.Array]:
    """Means over pairs; with a multi-reject example its golden counts once a pair, as in TRL.

    Args:
      policy_log_probs, reference_log_probs: (example, 1 + K) summed log-probs.
      response_mask: (example, 1 + K) bool.
      method: gives beta; methods without a reference have no rewards.

    Returns:
      Scalars, and (K,) arrays under ``per_dimension/``. An accuracy counts a tie as 1/2.
    """
    pairs = dpo.pair_mask(response_mask)
    shape = pairs.shape
    values = {
        "logps/chosen": jnp.broadcast_to(policy_log_probs[:, :1], shape),
        "logps/rejected": policy_log_probs[:, 1:],
    }
    if method.needs_reference:
        rewards = method.beta * (policy_log_probs - reference_log_probs)
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


def flatten(report: dict[str, Any], dimensions: tuple[str, ...], prefix: str = "") -> dict:
    """Device metrics to plain floats: ``per_dimension/loss`` becomes ``loss/A`` and so on.

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
