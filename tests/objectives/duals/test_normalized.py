"""Ascent on violations in units of their own size: neither steps nor nats change the path."""

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives.duals.normalized import Normalized
from dignified_jax.objectives.lagdpo import LagDPO
from dignified_jax.training import config as training_config

RATE = 4.0
METHOD = LagDPO(epsilon=(0.0,), controller=Normalized(RATE), lambda_max=100.0)
ALL = jnp.ones(4, bool)


def losses(share, size):
    """Of four dimensions, at a share of the run."""
    swing = np.array([1.0, -0.4, 0.5 * np.sin(9 * share), -0.6])
    return 2.0 * size + size * swing * (1.0 - 0.5 * share)


def path(steps, size=0.1):
    """(step, 4) lambda after each step of a run."""
    duals = METHOD.for_steps(steps).duals
    state, found = duals.init(jnp.zeros(4)), []
    for step in range(steps):
        of_step = jnp.asarray(losses((step + 0.5) / steps, size), jnp.float32)
        state = duals.update(state, of_step, ALL)
        found.append(np.asarray(state.multipliers))
    return np.array(found)


def by_hand(steps, size=0.1):
    """The same in NumPy, float64."""
    multipliers, squares, found = np.zeros(4), [], []
    for step in range(steps):
        error = losses((step + 0.5) / steps, size)
        error = error - error.mean()  # adaptive tolerances
        squares.append(error**2)
        multipliers = multipliers + RATE / steps * error / np.sqrt(np.mean(squares))
        multipliers = np.maximum(multipliers, 0.0)
        found.append(multipliers)
    return np.array(found)


def test_the_path_is_that_of_the_formula():
    np.testing.assert_allclose(path(27), by_hand(27), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [0.01, 10.0])
def test_the_size_of_violations_does_not_matter(size):
    np.testing.assert_allclose(path(27, size), path(27, 0.1), rtol=1e-3, atol=1e-5)


def test_the_number_of_steps_does_not_matter():
    """Up to the step of the sum, of first order in 1 / 27."""
    np.testing.assert_allclose(path(27), path(216)[7::8], rtol=0.06, atol=0.02)
    assert 1.0 < path(27).max() < 2 * RATE


def test_a_steady_violation_ends_at_the_rate():
    duals = METHOD.for_steps(40).duals
    state = duals.init(jnp.zeros(4))
    for _ in range(40):
        state = duals.update(state, jnp.array([0.9, 0.7, 0.9, 0.7]), ALL)
    np.testing.assert_allclose(state.multipliers, [RATE, 0.0, RATE, 0.0], rtol=1e-4)


def test_one_batch_moves_lambda_by_no_more_than_its_bound():
    """The sixteenth of sixteen batches has a loss of 900 nats: r sqrt(n K) / T, with n = T."""
    steps = 16
    duals = METHOD.for_steps(steps).duals
    state = duals.init(jnp.zeros(4))
    for step in range(steps):
        before = np.asarray(state.multipliers)
        of_step = [900.0 if step == steps - 1 else 0.7, 0.6, 0.7, 0.6]
        state = duals.update(state, jnp.array(of_step), ALL)
    moved = np.asarray(state.multipliers)[0] - before[0]
    assert 0.4 * RATE < moved <= RATE * np.sqrt(steps * 4) / steps


def test_losses_that_are_equal_but_for_rounding_move_nothing():
    duals = METHOD.for_steps(2).duals
    state = duals.update(duals.init(jnp.zeros(4)), 0.69314718 + jnp.array([0, 1, 2, 3]) * 6e-8, ALL)
    assert np.asarray(state.multipliers).max() < 0.01


def test_an_absent_dimension_keeps_its_squares():
    duals = METHOD.for_steps(4).duals
    present = jnp.array([True, True, True, False])
    state = duals.update(duals.init(jnp.zeros(4)), jnp.array([0.9, 0.5, 0.7, 0.0]), present)
    np.testing.assert_array_equal(state.controller.count, [1, 1, 1, 0])
    assert state.controller.total[3] == 0 and state.multipliers[3] == 0
    assert state.multipliers[0] > 0


def test_it_is_chosen_by_name_and_asks_for_the_steps():
    controller = {"name": "normalized", "rate": 2.0}
    config = training_config.parse({"method": {"name": "lagdpo", "controller": controller}})
    assert config.method.controller == Normalized(2.0)
    per_step = config.method.for_steps(9)
    assert per_step.for_steps(5) == per_step  # what is per step already stays
    duals = config.method.duals
    with pytest.raises(ValueError, match="'normalized' needs the steps"):
        duals.update(duals.init(jnp.zeros(4)), jnp.ones(4), ALL)
