"""Lag-DPO's multipliers against the KKT multipliers of min sum_k L_k subject to L_k <= epsilon_k.

Replies are one word, and of the decoder only an adapter z (4 numbers) of the output kernel is
trained, on the full batch: W = W_0 + sum_j z_j D_j. The log-sum-exp of golden and reject is then
the same and cancels, so margins are linear in z and the problem is convex:

    margin_ik = beta sum_j z_j (D_j^T h_i)[golden] - (D_j^T h_i)[reject of k]

with h_i the frozen hidden state of the last prompt token. SciPy gets these features in NumPy
float64, from a plain forward pass; Lag-DPO runs in the package's train step on packed rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from benchmarks import conflict_training as training
from benchmarks.conflict_problem import FIRST_WORD, VOCABULARY, Dials, directions, make_examples
from dignified_jax.data import DIMENSIONS, TokenizedExample
from dignified_jax.data.batch import Capacity
from dignified_jax.data.packing import build
from dignified_jax.models.decoder import Decoder
from dignified_jax.objectives import LagDPO
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.tolerances import Constant
from dignified_jax.training.step import sharding
from dignified_jax.training.step.step_inputs import ResidentReference, StepInputs
from dignified_jax.training.step.train_step import make_train_step

DIALS = Dials(conflict=0.5, noise=(0.2, 0.1, 0.0, 0.1), strength=0.6)
BETA = 1.0
PRIMAL_RATE, DUAL_RATE = 2.0, 0.5
# Tolerances, as differences from the losses of the unconstrained optimum: A and T have to be
# better than there, C and E may be worse.
SLACK = np.array([-0.01, -0.005, 0.05, 0.05])


@dataclasses.dataclass(frozen=True)
class Optimum:
    """Primal and dual optimum found by SciPy: z (4,), multipliers (4,), losses (4,)."""

    z: np.ndarray
    multipliers: np.ndarray
    losses: np.ndarray
    epsilon: np.ndarray


@dataclasses.dataclass(frozen=True)
class Problem:
    """Single-word examples, the model, the adapter (4, hidden, vocab) and (example, 4, 4) features.

    `features[i, k]` is the gradient of margin_ik by z.
    """

    examples: list[TokenizedExample]
    params: Any
    adapter: np.ndarray
    features: np.ndarray


def make_problem(count: int = 64, seed: int = 0) -> Problem:
    """`count` rows that have all four rejects."""
    examples = [
        dataclasses.replace(example, responses=tuple(words[:1] for words in example.responses))
        for example in make_examples(DIALS, count, seed, 0)
    ]
    params = training.init_params(seed)
    hidden = _last_hidden(params, examples)
    mean = hidden.mean(axis=0)
    basis = np.linalg.qr(directions(DIALS.conflict, seed).T)[0].T
    words = np.zeros((len(basis), VOCABULARY))
    words[:, FIRST_WORD:] = basis
    adapter = np.einsum("h,jv->jhv", mean / np.linalg.norm(mean), words)
    logits = np.einsum("ih,jhv->ivj", hidden, adapter)
    replies = np.array([[words[0] for words in example.responses] for example in examples])
    chosen = np.take_along_axis(logits, replies[:, :, None], axis=1)
    return Problem(examples, params, adapter, BETA * (chosen[:, :1] - chosen[:, 1:]))


def _last_hidden(params: Any, examples: list[TokenizedExample]) -> np.ndarray:
    """(example, hidden) float64 states of the last prompt token, from prompts alone."""
    prompts = np.stack([example.prompt for example in examples])
    states = training.MODEL.apply({"params": params}, prompts, method=Decoder.hidden_states)
    return np.asarray(states[:, -1], np.float64)


def solve(problem: Problem) -> Optimum:
    """SciPy's trust-region interior point method, NumPy float64 throughout.

    Raises:
      RuntimeError: it did not converge, or the tolerances can't all be met.
    """
    features = problem.features

    def losses(z: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, -features @ z).mean(axis=0)

    def jacobian(z: np.ndarray) -> np.ndarray:
        slope = -1.0 / (1.0 + np.exp(features @ z)) / len(features)
        return np.einsum("ik,ikj->kj", slope, features)

    objective = {
        "fun": lambda z: losses(z).sum(),
        "jac": lambda z: jacobian(z).sum(axis=0),
        "x0": np.zeros(features.shape[2]),
    }
    free = scipy.optimize.minimize(**objective, method="BFGS", options={"gtol": 1e-9})
    epsilon = losses(free.x) + SLACK
    bound = scipy.optimize.NonlinearConstraint(losses, -np.inf, epsilon, jac=jacobian)
    found = scipy.optimize.minimize(
        **objective,
        constraints=[bound],
        method="trust-constr",
        options={"gtol": 1e-9, "xtol": 1e-11, "barrier_tol": 1e-10, "maxiter": 3000},
    )
    if not found.success or found.constr_violation > 1e-8:
        raise RuntimeError(
            f"SciPy: {found.message}, violation {found.constr_violation:.1e}; "
            "expected tolerances that can all be met"
        )
    return Optimum(found.x, found.v[0], losses(found.x), epsilon)


def descend(
    problem: Problem, epsilon: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lag-DPO by the train step: (z (4,), multipliers (step, 4), losses (step, 4))."""
    count = len(problem.examples)
    plan = [[number] for number in range(count)]
    packed = build(
        problem.examples,
        plan,
        row_length=max(example.length for example in problem.examples),
        capacity=Capacity.of(problem.examples, [plan]),
        rows=count,
        example_count=count,
    )
    batch = sharding.put_batch(packed, training.mesh(), count)
    method = LagDPO(
        beta=BETA,
        epsilon=tuple(epsilon.tolist()),
        schedule=Constant(),
        controller=Ascent(DUAL_RATE),
    )
    optimizer = optax.chain(in_adapter(problem.adapter), optax.sgd(PRIMAL_RATE))
    step = make_train_step(training.MODEL, method, optimizer, training.mesh())

    @jax.jit
    def run(state: Any, batch: Any, reference: Any) -> Any:
        def body(state: Any, _: None) -> Any:
            state, report = step(
                state, StepInputs(batch, jnp.int32(1), ResidentReference(reference))
            )
            return state, (report["per_dimension/lambda"], report["per_dimension/loss"])

        return jax.lax.scan(body, state, length=steps)

    state, history = run(training.start(method, optimizer, problem.params), batch, problem.params)
    moved = np.asarray(
        state.params["lm_head"]["kernel"] - problem.params["lm_head"]["kernel"], np.float64
    )
    multipliers, losses = (np.asarray(values, np.float64) for values in history)
    return np.einsum("jhv,hv->j", problem.adapter, moved), multipliers, losses


def in_adapter(adapter: np.ndarray) -> optax.GradientTransformation:
    """Projects gradients on the span of the (j, hidden, vocab) orthonormal adapter.

    Gradient descent on the parameters is then gradient descent on z; all others stay as they are.
    """
    directions = jnp.asarray(adapter, jnp.float32)

    def update(gradients: Any, state: optax.EmptyState, params: Any = None) -> Any:
        del params
        along = jnp.einsum("jhv,hv->j", directions, gradients["lm_head"]["kernel"])
        kernel = jnp.einsum("j,jhv->hv", along, directions)
        return jax.tree.map(jnp.zeros_like, gradients) | {"lm_head": {"kernel": kernel}}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def gap(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference, over the DIMENSIONS."""
    assert found.shape == expected.shape == (len(DIMENSIONS),)
    return float(np.abs(found - expected).max())
