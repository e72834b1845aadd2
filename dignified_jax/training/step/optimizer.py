"""The primal optimiser: AdamW with warm-up, a decay schedule and gradient clipping."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule.

    Attributes:
      learning_rate: peak learning rate.
      schedule: after warm-up, "cosine" or "linear" decay that would reach 0 one step after the
        last, or "constant".
      warmup_fraction: share of all steps over which the rate rises linearly from 0.
      b1, b2, eps: Adam's moments and denominator.
      mu_dtype: of the first moment at rest; the second has the parameters' dtype.
      weight_decay: decoupled decay, of matrices only; norm scales have none.
      clip_norm: global gradient norm to clip at; None, or inf on a command line, turns it off.
    """

    learning_rate: float = 5e-7
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_fraction: float = 0.1
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    mu_dtype: Literal["float32", "bfloat16"] = "float32"
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0:
            raise ValueError(
                f"optimizer.learning_rate must be at least 0, found {self.learning_rate}"
            )
        if not 0 <= self.warmup_fraction <= 1:
            raise ValueError(
                f"optimizer.warmup_fraction must be in [0, 1], found {self.warmup_fraction}"
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(
                f"optimizer.clip_norm must be positive or None, found {self.clip_norm}"
            )


def make_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate by optimiser step, over `total_steps`."""
    peak = config.learning_rate
    warmup = round(config.warmup_fraction * total_steps)
    remaining = max(total_steps - warmup, 1)
    if config.schedule == "cosine":
        decay = optax.cosine_decay_schedule(peak, remaining)
    elif config.schedule == "linear":
        decay = optax.linear_schedule(peak, 0.0, remaining)
    else:
        decay = optax.constant_schedule(peak)
    if warmup == 0:
        return decay
    # The first update already uses a positive rate: step t of the warm-up has (t + 1) / warmup.
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """Clipping, then AdamW on the schedule."""
    clip = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    adamw = optax.chain(
        _adam(config),
        optax.add_decayed_weights(config.weight_decay, _decayed),
        optax.scale_by_learning_rate(make_schedule(config, total_steps)),
    )
    return optax.chain(*clip, adamw)


def _adam(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam whose first moment is narrow at rest only.

    Optax multiplies it by b1 in its own dtype, and in bfloat16 0.9 is 0.8984.
    """
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps, mu_dtype=config.mu_dtype)

    def update(gradients: Any, state: optax.ScaleByAdamState, params: Any = None) -> Any:
        wide = state._replace(mu=optax.tree.cast(state.mu, jnp.float32))
        return adam.update(gradients, wide, params)

    return optax.GradientTransformation(adam.init, update)


def _decayed(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: path[-1].key != "scale", params)
