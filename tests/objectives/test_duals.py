"""Dual ascent: hand numbers, and both optima of a convex problem against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from dignified_jax.objectives import dpo, duals
from dignified_jax.objectives.lagdpo import LagDPO

PRESENT = jnp.ones(3, bool)


def ascend(state, losses, present=PRESENT, **options):
    settings = {"epsilon": jnp.full(3, 0.5), "rate": 0.1, "cap": 10.0, "decay": 0.0}
    return duals.update(state, jnp.asarray(losses), present, **(settings | options))


def test_ascent_by_hand():
    state = duals.init(jnp.array([0.0, 0.2, 9.99]))
    state = ascend(state, [0.7, 0.1, 1.5])
    np.testing.assert_allclose(state.multipliers, [0.02, 0.16, 10.0], rtol=1e-6)
    state = ascend(state, [0.1, 0.1, 0.4])  # the first is projected on 0
    np.testing.assert_allclose(state.multipliers, [0.0, 0.12, 9.99], rtol=1e-6)


def test_absent_dimension_keeps_everything():
    state = ascend(duals.init(jnp.array([0.3, 0.3, 0.3])), [0.9, 0.9, 0.9], decay=0.5)
    after = ascend(state, [0.0, 0.0, 0.0], jnp.array([True, False, True]), decay=0.5)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert new[1] == old[1] and new[0] != old[0]


def test_moving_average_is_unbiased_and_counts_present_batches_only():
    state = duals.init(jnp.zeros(3))
    seen = [[0.9, 0.6, 0.5], [0.5, 0.6, 0.5], [0.1, 0.6, 0.5]]
    for losses in seen:
        state = ascend(state, losses, decay=0.8)
    weights = np.array([0.8**2, 0.8, 1.0])
    expected = np.average([row[0] for row in seen], weights=weights)
    np.testing.assert_allclose(state.average / state.weight, [expected, 0.6, 0.5], rtol=1e-6)


def test_no_decay_is_the_batch_signal_exactly():
    state = ascend(ascend(duals.init(jnp.zeros(3)), [0.9, 0.9, 0.9]), [0.71, 0.72, 0.73])
    np.testing.assert_array_equal(state.average, np.float32([0.71, 0.72, 0.73]))


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_unlimited_tolerance_leaves_lambda_at_zero(rate):
    state = ascend(duals.init(jnp.zeros(3)), [5.0, 5.0, 5.0], epsilon=jnp.inf, rate=rate)
    np.testing.assert_array_equal(state.multipliers, np.zeros(3))


def test_primal_and_dual_optimum_of_a_convex_problem():
    """min sum_k L_k(x) with L_k(x) <= epsilon_k, where L_k is the DPO loss of linear scores.

    Lag-DPO's own loss and update, run to convergence, must reach SciPy's constrained optimum,
    and multipliers that satisfy the KKT conditions there.
    """
    rng = np.random.default_rng(3)
    features = rng.normal(size=(24, 5, 3)).astype(np.float32)
    # The dimensions pull in different directions, so that a constraint binds.
    features[:, 1] += [0.0, -2.0, 0.0]
    features[:, 2] += [1.5, 0.5, 0.0]
    features[:, 0] += [1.0, 0.3, 0.5]
    mask = jnp.ones((24, 5), bool)
    counts = dpo.pair_counts(mask)
    beta = 1.0

    with jax.enable_x64(True):
        wide = jnp.asarray(features, jnp.float64)

        def losses(x):
            values = dpo.dimension_losses(wide @ x, mask, counts.astype(jnp.float64), beta)
            return np.asarray(values) if isinstance(x, np.ndarray) else values

        total = jax.value_and_grad(lambda x: losses(x).sum())
        jacobian = jax.jacobian(losses)
        objective = {
            "fun": lambda x: float(total(jnp.asarray(x))[0]),
            "jac": lambda x: np.asarray(total(jnp.asarray(x))[1]),
            "x0": np.zeros(3),
        }
        free = scipy.optimize.minimize(**objective, tol=1e-10)
        at_free = losses(free.x)
        # The worst dimension has to give 0.02 more than at the unconstrained optimum.
        epsilon = np.where(at_free == at_free.max(), at_free - 0.02, at_free + 0.3)
        solution = scipy.optimize.minimize(
            **objective,
            constraints={
                "type": "ineq",
                "fun": lambda x: epsilon - losses(x),
                "jac": lambda x: -np.asarray(jacobian(jnp.asarray(x))),
            },
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert solution.success
        slopes = np.asarray(jacobian(jnp.asarray(solution.x)))
        binding = losses(solution.x) > epsilon - 1e-6
    # KKT: sum_k (1 + lambda_k) grad L_k = 0 with lambda 0 where the constraint is slack.
    assert binding.sum() >= 1
    expected = np.zeros(4)
    expected[binding] = np.linalg.lstsq(slopes[binding].T, -slopes.sum(0), rcond=None)[0]
    assert (expected[binding] > 0.05).all()

    method = LagDPO(
        beta=beta,
        epsilon=tuple(map(float, epsilon)),
        dual_learning_rate=0.5,
        lambda_max=100.0,
    )

    @jax.jit
    def step(carry, _):
        x, state = carry

        def objective(x):
            return method.loss(jnp.asarray(features) @ x, mask, counts, state)

        (_, values), gradient = jax.value_and_grad(objective, has_aux=True)(x)
        return (x - 0.3 * gradient, method.update(state, values, jnp.ones(4, bool))), None

    (x, state), _ = jax.lax.scan(step, (jnp.zeros(3), method.init(4)), length=60_000)
    np.testing.assert_allclose(x, solution.x, atol=2e-3)
    np.testing.assert_allclose(state.multipliers, expected, atol=2e-2)
