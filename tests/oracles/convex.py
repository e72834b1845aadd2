"""A small convex problem, min sum_k L_k(x) with L_k(x) <= epsilon_k, solved by SciPy.

L_k is the DPO loss of scores that are linear in x (3 numbers), 24 examples of 4 dimensions that
pull in different directions.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from dignified_jax.objectives import ScoredBatch, dpo

BETA = 1.0
MASK = jnp.ones((24, 5), bool)
COUNTS = dpo.pair_counts(MASK)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Features (24, 5, 3), tolerances (4,), and both optima: x (3,), multipliers (4,)."""

    features: np.ndarray
    epsilon: np.ndarray
    x: np.ndarray
    multipliers: np.ndarray


def solve():
    """The optima when T has to be 0.02 better than unconstrained, and E, in its way, no worse."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(24, 5, 3))
    features[:, 1] += [0.0, -2.0, 0.0]
    features[:, 2] += [1.5, 0.5, 0.0]
    features[:, 0] += [1.0, 0.3, 0.5]

    # NumPy throughout, in float64: nothing of the code under test.
    difference = features[:, :1] - features[:, 1:]

    def losses(x):
        return np.logaddexp(0.0, -BETA * difference @ x).mean(axis=0)

    def jacobian(x):
        slope = -BETA / (1.0 + np.exp(BETA * difference @ x)) / len(features)
        return np.einsum("ik,ikd->kd", slope, difference)

    objective = {
        "fun": lambda x: losses(x).sum(),
        "jac": lambda x: jacobian(x).sum(axis=0),
        "x0": np.zeros(3),
    }
    free = losses(scipy.optimize.minimize(**objective, tol=1e-10).x)
    epsilon = free + np.array([0.3, -0.02, 0.0, 0.3])
    solution = scipy.optimize.minimize(
        **objective,
        constraints={
            "type": "ineq",
            "fun": lambda x: epsilon - losses(x),
            "jac": lambda x: -jacobian(x),
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert solution.success
    # KKT: sum_k (1 + lambda_k) grad L_k = 0 with lambda 0 where the constraint is slack.
    slopes, binding = jacobian(solution.x), losses(solution.x) > epsilon - 1e-6
    multipliers = np.zeros(4)
    multipliers[binding] = np.linalg.lstsq(slopes[binding].T, -slopes.sum(0), rcond=None)[0]
    assert binding.sum() == 2 and (multipliers[binding] > 0.05).all()
    return Problem(features.astype(np.float32), epsilon, solution.x, multipliers)


def descend(problem, method, steps, rate=0.3):
    """(x, state) after gradient steps on the method's loss, each with its dual update."""

    @jax.jit
    def step(carry, _):
        x, state = carry

        def scored(x):
            return ScoredBatch(jnp.asarray(problem.features) @ x, MASK, MASK.astype(jnp.int32))

        def objective(x):
            return method.loss(scored(x), COUNTS, state)

        (_, values), gradient = jax.value_and_grad(objective, has_aux=True)(x)
        return (
            x - rate * gradient,
            method.update(state, values, jnp.ones(4, bool), scored(x)),
        ), None

    return jax.lax.scan(step, (jnp.zeros(3), method.init(4)), length=steps)[0]
