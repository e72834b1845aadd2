"""Lag-DPO: every dimension's DPO loss is a constraint with its own Lagrange multiplier.

    minimise (1/K) sum_k (1 + lambda_k) L_k        over the policy, lambda held constant
    lambda_k <- clip(lambda_k + rate (L_k - epsilon_k), 0, lambda_max)

Equations 4 to 6 of "Dual Optimal: Make Your LLM Peer-like with Dignity". The constant
-sum_k lambda_k epsilon_k / K has no gradient and is left out of the optimised loss. While all
lambda are 0 this is multi-negative DPO averaged by dimension, to the bit.

Beyond the paper: other controllers, signals and tolerances (see `duals`), and weights that keep
their sum.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dignified_jax.objectives.base import Objective, ScoredBatch, register
from dignified_jax.objectives.checks import per_dimension
from dignified_jax.objectives.duals import normalized, old_keys, paced  # noqa: F401  (rules)
from dignified_jax.objectives.duals.ascent import Duals, DualState
from dignified_jax.objectives.duals.controllers import CONTROLLERS, Ascent, Controller
from dignified_jax.objectives.duals.signals import SIGNALS, Batch, Signal
from dignified_jax.objectives.duals.tolerances import SCHEDULES, Adaptive, Schedule
from dignified_jax.objectives.terms import Terms
from dignified_jax.typed_config import Bounds, NonNegative, Positive


@register
@dataclasses.dataclass(frozen=True)
class LagDPO(Terms, Objective):
    """Every dimension's DPO loss is a constraint with its own Lagrange multiplier.

    Tuples have one entry for all dimensions or one for each (A, T, E, C).

    Two defaults are not the paper's. Its constant tolerances drive every lambda alike to the cap
    where they are out of reach, which is plain averaging again; "adaptive" ones are the same within
    reach. Its dual rate, "an order of magnitude below the primal rate", would leave lambda at zero
    with the learning rates of DPO (a few 1e-7). What counts is the rate times the steps: 1 suits
    runs of tens of steps (benchmarks/RESULTS.md compares it with the paper's); the controllers
    "paced" and "normalized" have a rate per run, for runs of any length.

    `schedule`, `controller` and `signal` are sections: `method.controller.name=nupi` chooses, and
    the fields of that one stand beside its name. Others can be registered (`CONTROLLERS` and so
    on in `duals`).

    Attributes:
      beta: inverse temperature of the implicit reward.
      epsilon: tolerance of each dimension's loss, in nats; log 2 = 0.693 is an untrained policy's.
      schedule: "constant"; "linear" to `final` in `steps` ("paced_linear" in a `share` of the run);
        "adaptive": never tighter than the mean of the dimensions' signals, for an epsilon that may
        be out of reach.
      controller: "ascent", with a `rate`; "paced", the same with a `rate` of the whole run, over
        its steps; "normalized", the same of violations over their root mean square; "nupi",
        proportional-integral control; "augmented", the
        augmented Lagrangian with its `penalty`, whose weights answer to a violation before lambda
        has moved. It needs a signal other than "batch".
      signal: what is compared with epsilon: the "batch" loss, its average "ema" with a `decay`
        ("paced_ema" with a `share` of the run), or its mean over a "window" of a `length`.
      dual_restart: lambda_k goes to 0 as soon as the signal is at most epsilon_k.
      normalize_weights: divide the weights 1 + lambda_k by 1 + mean lambda, so that they add up
        to K and lambda does not raise the effective learning rate.
      lambda_init: multipliers before the first step.
      lambda_max: upper bound of every multiplier, and of the augmented Lagrangian's weights.
    """

    beta: Positive = 0.1
    epsilon: tuple[Annotated[float, Bounds("[0, inf]")], ...] = (0.5,)
    schedule: Annotated[Schedule, SCHEDULES] = Adaptive()  # noqa: RUF009  (frozen)
    controller: Annotated[Controller, CONTROLLERS] = Ascent()  # noqa: RUF009
    signal: Annotated[Signal, SIGNALS] = Batch()  # noqa: RUF009
    dual_restart: bool = False
    normalize_weights: bool = False
    lambda_init: tuple[NonNegative, ...] = (0.0,)
    lambda_max: Positive = 10.0

    name = "lagdpo"
    renamed: ClassVar[Mapping[str, str]] = old_keys.RENAMED

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("epsilon", "lambda_init"):
            if not getattr(self, field):
                raise ValueError(f"method.{field} needs an entry, found none")
        if not max(self.lambda_init) <= self.lambda_max:
            raise ValueError(
                f"method.lambda_init {self.lambda_init} exceeds method.lambda_max {self.lambda_max}"
            )
        controller = f"method.controller.name={self.controller.name!r}"
        if self.controller.needs_memory and not self.signal.remembers:
            raise ValueError(
                f"{controller} contradicts method.signal.name={self.signal.name!r}: its weights "
                "come from the batches before; use 'ema' or 'window'"
            )
        if self.controller.needs_finite_epsilon and not all(map(math.isfinite, self.epsilon)):
            raise ValueError(f"method.epsilon {self.epsilon} must be finite with {controller}")

    @classmethod
    def upgraded(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns fields as any version wrote them to config.json in today's sections."""
        return super().upgraded(old_keys.upgraded(fields))

    @property
    def duals(self) -> Duals:
        """The rule of the multipliers."""
        return Duals(
            signal=self.signal,
            schedule=self.schedule,
            controller=self.controller,
            epsilon=self.epsilon,
            cap=self.lambda_max,
            restart=self.dual_restart,
        )

    def for_steps(self, steps: int) -> LagDPO:
        """Returns the same with the rules of `duals.paced` per step."""
        return dataclasses.replace(
            self,
            schedule=self.schedule.for_steps(steps),
            controller=self.controller.for_steps(steps),
            signal=self.signal.for_steps(steps),
        )

    def init(self, dimensions: int) -> DualState:
        """Raises ValueError when a per-dimension field has neither 1 nor K entries."""
        per_dimension("epsilon", self.epsilon, dimensions)
        self.schedule.check(self.epsilon, dimensions)
        return self.duals.init(per_dimension("lambda_init", self.lambda_init, dimensions))

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: DualState
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`."""
        losses = self.dimension_losses(batch, counts)
        multipliers = jax.lax.stop_gradient(self.duals.weights(state))
        weights = (1.0 + multipliers) / losses.size
        if self.normalize_weights:
            weights /= 1.0 + multipliers.mean()
        return jnp.sum(weights * losses), losses

    def update(
        self,
        state: DualState,
        losses: Float[Array, " dimension"],
        present: Bool[Array, " dimension"],
        batch: ScoredBatch,
    ) -> DualState:
        del batch
        return self.duals.update(state, losses, present)

    def metrics(self, state: DualState) -> dict[str, jax.Array]:
        """Returns lambda, and epsilon where it is not constant."""
        moves = {"epsilon": self.duals.tolerances(state)} if self.schedule.varies else {}
        return {"lambda": state.multipliers} | moves
