"""Lagrange multipliers for the constraints L_k <= epsilon_k.

    e_k = signal_k - epsilon_k        lambda_k <- clip(controller(lambda_k, e_k), 0, cap)

The signal is the batch's loss, its moving average or its mean over a window (`signals`); epsilon
is constant, scheduled or adaptive (`tolerances`); the controller is plain ascent, nuPI or the
augmented Lagrangian (`controllers`). A dimension that is absent from a batch keeps everything:
its multiplier, its signal's memory and its controller's state.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import PyTree

from dignified_jax.objectives.duals.controllers import Controller
from dignified_jax.objectives.duals.signals import Signal
from dignified_jax.objectives.duals.tolerances import Schedule


class DualState(struct.PyTreeNode):
    """State of the multipliers.

    Attributes:
      multipliers: (K,) float32 lambda.
      memory: of the signal.
      controller: of the controller, such as nuPI's xi.
      step: () int32, updates done; what a schedule of epsilon counts.
    """

    multipliers: jax.Array
    memory: PyTree
    controller: PyTree
    step: jax.Array


@dataclasses.dataclass(frozen=True)
class Duals:
    """How the multipliers move.

    Attributes:
      signal, schedule, controller: the three parts of the rule.
      epsilon: tolerances that the schedule starts from, one for all dimensions or one for each.
      cap: largest multiplier, and largest weight.
      restart: a multiplier whose constraint holds (e <= 0) goes to 0 at once instead of
        descending: "dual restart" of Gallego-Posada et al., "Controlled sparsity via constrained
        optimization" (2022).
    """

    signal: Signal
    schedule: Schedule
    controller: Controller
    epsilon: tuple[float, ...]
    cap: float
    restart: bool = False

    def init(self, multipliers: jax.Array) -> DualState:
        """State before the first batch, from (K,) float32 multipliers."""
        return DualState(
            multipliers=multipliers,
            memory=self.signal.init(multipliers.size),
            controller=self.controller.init(multipliers.size),
            step=jnp.zeros((), jnp.int32),
        )

    def update(self, state: DualState, losses: jax.Array, present: jax.Array) -> DualState:
        """The state after a batch.

        Args:
          state: before it.
          losses: (K,) losses of the batch.
          present: (K,) bool, False where the batch has no pair of the dimension.
        """

        def kept(new: PyTree, old: PyTree) -> PyTree:
            return jax.tree.map(lambda n, o: jnp.where(present, n, o), new, old)

        memory = kept(self.signal.push(state.memory, losses), state.memory)
        error = self._error(memory, state.step)
        inner, moved = self.controller.step(state.controller, state.multipliers, error)
        multipliers = jnp.clip(moved, 0.0, self.cap)
        if self.restart:
            multipliers = jnp.where(error > 0, multipliers, 0.0)
        return DualState(
            multipliers=kept(multipliers, state.multipliers),
            memory=memory,
            controller=kept(inner, state.controller),
            step=state.step + 1,
        )

    def weights(self, state: DualState) -> jax.Array:
        """(K,) weights of the constraints in the primal loss: lambda, unless augmented."""
        error = self._error(state.memory, state.step)
        return self.controller.weights(state.multipliers, error, self.cap)

    def tolerances(self, state: DualState) -> jax.Array:
        """(K,) tolerances of the next update, as far as they are known before its batch."""
        return self.schedule.value(self.epsilon, state.step, *self.signal.value(state.memory))

    def _error(self, memory: PyTree, step: jax.Array) -> jax.Array:
        """(K,) violations; 0 for a dimension that no batch had yet."""
        signal, known = self.signal.value(memory)
        return jnp.where(
            known, signal - self.schedule.value(self.epsilon, step, signal, known), 0.0
        )
