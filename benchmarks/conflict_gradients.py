"""Propositions F.1 and F.2 on a real decoder: squared norms and each dimension's progress.

Two dimensions, gradients g_1, g_2 of norms a, b and cosine -rho over all parameters; Lag-DPO has
raised the multiplier of the first to lambda:

    g = ((1 + lambda) g_1 + g_2) / 2
    |g|^2 = ((1 + lambda)^2 a^2 + b^2 - 2 rho (1 + lambda) a b) / 4
    <g_1, g> = a ((1 + lambda) a - rho b) / 2        progress of the raised dimension
    <g_2, g> = b (b - (1 + lambda) rho a) / 2        progress of the satisfied one

With a = b = G these are the paper's G^2 (1 - rho) / 2 at lambda = 0 (averaging, F.1) and
(G^2 / 4) ((1 + lambda)^2 - 2 rho (1 + lambda) + 1) (F.2), and the satisfied dimension worsens once
lambda > 1 / rho - 1; in general once lambda > b / (rho a) - 1. Measured norms are not scaled to be
equal: the general form is what is compared.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from benchmarks import conflict_training as training
from benchmarks.conflict_problem import Dials, make_examples
from dignified_jax.data import DIMENSIONS
from dignified_jax.models import logprobs
from dignified_jax.objectives import LagDPO, MultiNegativeDPO, Objective, dpo
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.training.step import sharding
from dignified_jax.training.step.step_inputs import CachedReference, StepInputs
from dignified_jax.training.step.train_step import TrainStep, make_train_step

RAISED, SATISFIED = DIMENSIONS.index("A"), DIMENSIONS.index("E")
PAIR = tuple(float(k in (RAISED, SATISFIED)) for k in range(len(DIMENSIONS)))
BETA = 0.1
RATE = 0.003  # of the SGD step: loss falls by about a thousandth, in which curvature is little
# The objectives divide by all 4 dimensions, of which 2 have rows here; the propositions by 2.
SHARE = len(DIMENSIONS) / 2


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Norms a and b of the raised and the satisfied dimension, and rho, minus their cosine."""

    raised: float
    satisfied: float
    rho: float

    def squared_norm(self, multiplier: float) -> float:
        """|g|^2 of Lag-DPO; of averaging at multiplier 0."""
        a, b = (1.0 + multiplier) * self.raised, self.satisfied
        return (a**2 + b**2 - 2.0 * self.rho * a * b) / 4.0

    def progress(self, multiplier: float) -> tuple[float, float]:
        """First-order fall of the raised and the satisfied loss, per unit of learning rate."""
        a, b = self.raised, self.satisfied
        weight = 1.0 + multiplier
        return a * (weight * a - self.rho * b) / 2.0, b * (b - weight * self.rho * a) / 2.0

    @property
    def threshold(self) -> float:
        """The multiplier above which the satisfied dimension worsens; inf without conflict."""
        return self.satisfied / (self.rho * self.raised) - 1.0 if self.rho > 0 else np.inf


@dataclasses.dataclass(frozen=True)
class Step:
    """What one train step did: |g|^2, and the fall of both losses per unit of learning rate."""

    multiplier: float
    squared_norm: float
    raised: float
    satisfied: float


@jax.jit
def _gradient(params: Any, batch: Any, weights: jax.Array) -> tuple[Any, jax.Array]:
    """(raw gradient of sum_k weights_k L_k, (example, 5) log-probs), `params` the reference.

    No objective and no train step has a part in it. `batch` is one of `training.put`.
    """
    spec = sharding.batch_spec(batch)
    rows = jax.tree.map(lambda leaf, s: leaf if s == PartitionSpec() else leaf[0], batch, spec)

    def weighted(params: Any) -> tuple[jax.Array, jax.Array]:
        log_probs = logprobs.response_log_probs(training.MODEL, params, rows)
        ratios = log_probs - jax.lax.stop_gradient(log_probs)
        counts = dpo.pair_counts(rows.response_mask)
        losses = dpo.dimension_losses(ratios, rows.response_mask, counts, BETA)
        return jnp.sum(weights * losses), log_probs

    return jax.grad(weighted, has_aux=True)(params)


def _log_probs(params: Any, batch: Any) -> np.ndarray:
    """(example, 5) float32; from the same program, which spares compiling another."""
    return np.asarray(_gradient(params, batch, jnp.zeros(len(DIMENSIONS)))[1])


def cosines(params: Any, batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """(4, 4) cosines and (4,) norms of the raw gradients of the L_k, `params` the reference.

    Over all parameters, in float64; cosines with the gradient of a dimension without rows are 0.
    """
    flat = np.stack(
        [
            np.concatenate(
                [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(gradient)]
            )
            for gradient, _ in (_gradient(params, batch, one) for one in jnp.eye(len(DIMENSIONS)))
        ]
    )
    norms = np.linalg.norm(flat, axis=1)
    scale = np.where(norms > 0, norms, 1.0)
    return flat @ flat.T / np.outer(scale, scale), norms


def measure(
    conflict: float, multipliers: tuple[float, ...], seed: int = 0, count: int = 1024
) -> tuple[Gradients, Step, list[Step]]:
    """(norms and rho, the step of averaging, steps of Lag-DPO at each multiplier).

    All start from one model, which is the reference too, and see all `count` rows at once.
    """
    dials = Dials(conflict=conflict, frequency=PAIR)
    batch = training.put(make_examples(dials, count, seed, 0))
    params = training.init_params(seed)
    cosine, norms = cosines(params, batch)
    gradients = Gradients(norms[RAISED], norms[SATISFIED], -cosine[RAISED, SATISFIED])
    averaged = _step(MultiNegativeDPO(beta=BETA, weights=PAIR), params, batch, 0.0, scale=1.0)
    method = LagDPO(beta=BETA, controller=Ascent(0.0))
    steps = [_step(method, params, batch, value, scale=SHARE) for value in multipliers]
    return gradients, averaged, steps


@functools.cache
def _program(method: Objective, scale: float) -> tuple[optax.GradientTransformation, TrainStep]:
    """SGD that keeps the raw gradient in its state, and the train step with it."""
    optimizer = optax.chain(optax.trace(0.0), optax.sgd(RATE * scale))
    return optimizer, make_train_step(training.MODEL, method, optimizer, training.mesh())


def _step(method: Objective, params: Any, batch: Any, multiplier: float, scale: float) -> Step:
    """One SGD step of `method` from `params`; `scale` times its gradient is the propositions' g."""
    optimizer, step = _program(method, scale)
    state = training.start(method, optimizer, params)
    if multiplier:
        raised = state.method_state.multipliers.at[RAISED].set(multiplier)
        state = state.replace(method_state=state.method_state.replace(multipliers=raised))
    reference = _log_probs(params, batch)
    after, _ = step(state, StepInputs(batch, jnp.int32(1), CachedReference(jnp.asarray(reference))))
    trace = jax.tree.leaves(after.opt_state[0].trace)
    squared = sum(float(np.sum(np.square(np.asarray(leaf, np.float64)))) for leaf in trace)
    before, now = (_losses(p, batch, reference) for p in (params, after.params))
    fall = (before - now) / RATE
    return Step(multiplier, scale**2 * squared, fall[RAISED], fall[SATISFIED])


def _losses(params: Any, batch: Any, reference: np.ndarray) -> np.ndarray:
    """(4,) L_k in float64, 0 for a dimension without rows."""
    ratios = np.asarray(_log_probs(params, batch) - reference, np.float64)
    mask = np.asarray(batch.response_mask)[:, 1:]
    pairs = np.logaddexp(0.0, -BETA * (ratios[:, :1] - ratios[:, 1:]))
    return np.where(mask, pairs, 0.0).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
