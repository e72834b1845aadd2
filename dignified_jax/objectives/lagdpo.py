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
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dignified_jax.objectives import dpo
from dignified_jax.objectives.base import Objective, ScoredBatch, register
from dignified_jax.objectives.checks import per_dimension, positive
from dignified_jax.objectives.duals.ascent import Duals, DualState
from dignified_jax.objectives.duals.controllers import Ascent, Augmented, Controller, NuPI
from dignified_jax.objectives.duals.signals import Ema, Signal, Window
from dignified_jax.objectives.duals.tolerances import Adaptive, Constant, Linear, Tolerance

# Field -> (the choice that it belongs to, the value of that choice, its own default).
_BELONGS: dict[str, tuple[str, str, float | None]] = {
    "ema_decay": ("dual_signal", "ema", 0.9),
    "dual_window": ("dual_signal", "window", 10),
    "nupi_proportional": ("dual_controller", "nupi", 1.0),
    "nupi_integral": ("dual_controller", "nupi", 1.0),
    "nupi_smoothing": ("dual_controller", "nupi", 0.9),
    "epsilon_final": ("epsilon_schedule", "linear", None),
    "epsilon_steps": ("epsilon_schedule", "linear", None),
}


@register
@dataclasses.dataclass(frozen=True)
class LagDPO(Objective):
    """Hyperparameters; tuples have one entry for all dimensions or one for each (A, T, E, C).

    Two defaults are not the paper's. Its constant tolerances drive every lambda alike to the cap
    where they are out of reach, which is plain averaging again; "adaptive" ones are the same within
    reach. Its dual rate, "an order of magnitude below the primal rate", would leave lambda at zero
    with the learning rates of DPO (a few 1e-7). What counts is the rate times the steps: 1 suits
    runs of tens of steps (benchmarks/RESULTS.md compares it with the paper's); 0.1 for those of
    many hundreds follows from that and has not been measured.

    A field that belongs to one choice (`ema_decay` to `dual_signal="ema"`) is an error without it.

    Attributes:
      beta: inverse temperature of the implicit reward.
      epsilon: tolerance of each dimension's loss, in nats; log 2 = 0.693 is an untrained policy's.
      epsilon_schedule: "constant"; "linear" to `epsilon_final`; "adaptive": never tighter than
        the mean of the dimensions' signals, for an epsilon that may be out of reach.
      epsilon_final: tolerances at the end of the linear schedule, which needs them.
      epsilon_steps: optimiser steps that the linear schedule takes, which needs it.
      dual_controller: "ascent"; "nupi", proportional-integral control; "augmented", the augmented
        Lagrangian, whose weights answer to a violation before lambda has moved. It needs a
        dual_signal other than "batch".
      dual_learning_rate: rate of "ascent" and "nupi"; the penalty coefficient c of "augmented".
      nupi_proportional, nupi_integral, nupi_smoothing: K_P, K_I and nu of nuPI; None means 1, 1
        and 0.9.
      dual_signal: what is compared with epsilon: the "batch" loss, its "ema", or its mean over a
        "window".
      ema_decay: decay of the average, per optimiser step that has the dimension; None means 0.9.
      dual_window: steps of the window that have the dimension; None means 10.
      dual_restart: lambda_k goes to 0 as soon as the signal is at most epsilon_k.
      normalize_weights: divide the weights 1 + lambda_k by 1 + mean lambda, so that they add up
        to K and lambda does not raise the effective learning rate.
      lambda_init: multipliers before the first step.
      lambda_max: upper bound of every multiplier, and of the augmented Lagrangian's weights.
    """

    beta: float = 0.1
    epsilon: tuple[float, ...] = (0.5,)
    epsilon_schedule: Literal["constant", "linear", "adaptive"] = "adaptive"
    epsilon_final: tuple[float, ...] = ()
    epsilon_steps: int | None = None
    dual_controller: Literal["ascent", "nupi", "augmented"] = "ascent"
    dual_learning_rate: float = 1.0
    nupi_proportional: float | None = None
    nupi_integral: float | None = None
    nupi_smoothing: float | None = None
    dual_signal: Literal["batch", "ema", "window"] = "batch"
    ema_decay: float | None = None
    dual_window: int | None = None
    dual_restart: bool = False
    normalize_weights: bool = False
    lambda_init: tuple[float, ...] = (0.0,)
    lambda_max: float = 10.0

    name = "lagdpo"

    def __post_init__(self) -> None:
        positive(self, "beta", "lambda_max")
        if self.dual_controller == "augmented":
            positive(self, "dual_learning_rate")
        if not self.dual_learning_rate >= 0:
            raise ValueError(
                f"method.dual_learning_rate must be at least 0, found {self.dual_learning_rate}"
            )
        for field in ("epsilon", "lambda_init", "epsilon_final"):
            values = getattr(self, field)
            optional = field == "epsilon_final"
            if not (values or optional) or not all(value >= 0 for value in values):
                raise ValueError(f"method.{field} needs entries of at least 0, found {values}")
        if not max(self.lambda_init) <= self.lambda_max:
            raise ValueError(
                f"method.lambda_init {self.lambda_init} exceeds method.lambda_max {self.lambda_max}"
            )
        self._check_belonging()
        self._check_ranges()

    def _check_belonging(self) -> None:
        for field, (choice, value, default) in _BELONGS.items():
            given, chosen = getattr(self, field), getattr(self, choice)
            is_set = given not in (None, ())
            if is_set and chosen != value:
                raise ValueError(
                    f"method.{field}={given} contradicts method.{choice}={chosen!r}: "
                    f"it belongs to {value!r}"
                )
            if not is_set and chosen == value and default is None:
                raise ValueError(f"method.{choice}={value!r} needs method.{field}, found none")
        if self.dual_controller == "augmented" and self.dual_signal == "batch":
            raise ValueError(
                "method.dual_controller='augmented' contradicts method.dual_signal='batch': its "
                "weights come from the batches before; use 'ema' or 'window'"
            )
        finite = all(math.isfinite(value) for value in self.epsilon + self.epsilon_final)
        if not finite and (self.dual_controller == "nupi" or self.epsilon_schedule == "linear"):
            raise ValueError(
                f"method.epsilon {self.epsilon + self.epsilon_final} must be finite with 'nupi' "
                "or a 'linear' schedule"
            )

    def _check_ranges(self) -> None:
        gains = [self.nupi_proportional, self.nupi_integral]
        for field, value in zip(("nupi_proportional", "nupi_integral"), gains, strict=True):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"method.{field} must be finite and at least 0, found {value}")
        if gains == [0, 0]:
            raise ValueError("method.nupi_proportional and method.nupi_integral are both 0")
        for field in ("ema_decay", "nupi_smoothing"):
            value = getattr(self, field)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"method.{field} must be in [0, 1), found {value}")
        for field in ("dual_window", "epsilon_steps"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"method.{field} must be at least 1, found {value}")

    @property
    def duals(self) -> Duals:
        """The rule of the multipliers."""
        return Duals(
            signal=self._signal(),
            tolerance=self._tolerance(),
            controller=self._controller(),
            cap=self.lambda_max,
            restart=self.dual_restart,
        )

    def _signal(self) -> Signal:
        if self.dual_signal == "window":
            return Window(self._option("dual_window"))
        return Ema(self._option("ema_decay") if self.dual_signal == "ema" else 0.0)

    def _tolerance(self) -> Tolerance:
        if self.epsilon_schedule == "linear":
            return Linear(self.epsilon, self.epsilon_final, self._option("epsilon_steps"))
        return (Adaptive if self.epsilon_schedule == "adaptive" else Constant)(self.epsilon)

    def _controller(self) -> Controller:
        if self.dual_controller == "ascent":
            return Ascent(self.dual_learning_rate)
        if self.dual_controller == "augmented":
            return Augmented(self.dual_learning_rate)
        return NuPI(
            self.dual_learning_rate,
            proportional=self._option("nupi_proportional"),
            integral=self._option("nupi_integral"),
            smoothing=self._option("nupi_smoothing"),
        )

    def _option(self, field: str) -> Any:
        value = getattr(self, field)
        return _BELONGS[field][2] if value is None else value

    def init(self, dimensions: int) -> DualState:
        """Raises ValueError when a per-dimension field has neither 1 nor K entries."""
        per_dimension("epsilon", self.epsilon, dimensions)
        if self.epsilon_final:
            per_dimension("epsilon_final", self.epsilon_final, dimensions)
        return self.duals.init(per_dimension("lambda_init", self.lambda_init, dimensions))

    def loss(
        self, batch: ScoredBatch, counts: Float[Array, " dimension"], state: DualState
    ) -> tuple[Float[Array, ""], Float[Array, " dimension"]]:
        """Returns as `Objective.loss`."""
        losses = dpo.dimension_losses(batch.log_ratios, batch.mask, counts, self.beta)
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
        """lambda, and epsilon where it is not constant."""
        moves = (
            {} if self.epsilon_schedule == "constant" else {"epsilon": self.duals.epsilon(state)}
        )
        return {"lambda": state.multipliers} | moves
