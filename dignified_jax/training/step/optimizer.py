"""The primal optimiser: AdamW with warm-up, a decay schedule and gradient clipping."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from dignified_jax.typed_config import Bounds, NonNegative, check_bounds

# A decay nearer to 1 is 1 in float32, where the bias correction 1 - b**t divides by 0.
_Decay = Annotated[float, Bounds("[0, 0.9999999]")]

_TYPICAL_WEIGHT = 0.02  # standard deviation that decoders begin with


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule.

    Attributes:
      learning_rate: peak learning rate.
      schedule: after warm-up, "cosine" or "linear" decay that would reach 0 one step after the
        last, or "constant".
      warmup_fraction: share of all steps over which the rate rises linearly from 0.
      b1, b2: decay of Adam's moments.
      eps: added to its denominator.
      mu_dtype: of the first moment at rest; the second is float32.
      weight_decay: decoupled decay, of matrices only; norm scales and biases have none.
      clip_norm: global gradient norm to clip at; None, or inf on a command line, turns it off.
    """

    learning_rate: NonNegative = 5e-7
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_fraction: Annotated[float, Bounds("[0, 1]")] = 0.1
    b1: _Decay = 0.9
    b2: _Decay = 0.999
    eps: Annotated[float, Bounds("[1e-37, inf)")] = 1e-8
    mu_dtype: Literal["float32", "bfloat16"] = "float32"
    weight_decay: NonNegative = 0.0
    clip_norm: Annotated[float, Bounds("(0, inf]")] | None = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, "optimizer.")


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


@functools.lru_cache(maxsize=8)  # equal ones are one object, so that a step is traced once
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
    """Adam whose first moment is narrow at rest only, and whose second is in float32.

    Optax multiplies each by its decay in the moment's own dtype, and in bfloat16 0.9 is 0.8984 and
    0.999 is 1: a second moment in it would never fall, and it is too coarse to rise by thousandths.
    """
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps, mu_dtype=config.mu_dtype)

    def init(params: PyTree) -> optax.ScaleByAdamState:
        state = adam.init(params)
        return state._replace(nu=optax.tree.cast(state.nu, jnp.float32))

    def update(gradients: PyTree, state: optax.ScaleByAdamState, params: PyTree = None) -> PyTree:
        wide = state._replace(mu=optax.tree.cast(state.mu, jnp.float32))
        return adam.update(gradients, wide, params)

    return optax.GradientTransformation(init, update)


def _decayed(params: PyTree) -> PyTree:
    return jax.tree.map_with_path(lambda path, _: path[-1].key not in ("scale", "bias"), params)


def lost_updates(config: OptimizerConfig, param_dtype: str) -> str:
    """Returns a warning where most updates of bfloat16 parameters round to nothing, else "".

    An update of Adam is at most about the learning rate. The numbers of bfloat16 between 2^e and
    2^(e+1) are 2^(e-7) apart, so that a weight above 2^8 times the rate is not moved by it.
    """
    unmoved = 2**8 * config.learning_rate
    if param_dtype != "bfloat16" or unmoved >= _TYPICAL_WEIGHT:
        return ""
    return (
        f"model.param_dtype=bfloat16 loses most updates: one of optimizer.learning_rate="
        f"{config.learning_rate:g} is less than half a step of bfloat16 for weights above "
        f"{2 * unmoved:.1g}; set --config.model.param_dtype=float32"
    )
