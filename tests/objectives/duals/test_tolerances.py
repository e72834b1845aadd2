"""Schedules of epsilon against hand numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives.duals.tolerances import Adaptive, Constant, Linear

SIGNAL = jnp.array([0.9, 0.6, 0.3, 0.2])
ALL = jnp.ones(4, bool)


def value(schedule, epsilon, step=0, signal=SIGNAL, known=ALL):
    return schedule.value(epsilon, jnp.int32(step), signal, known)


def test_constant_for_all_or_for_each():
    np.testing.assert_array_equal(value(Constant(), (0.5,), 7), np.float32([0.5] * 4))
    each = (0.5, 0.4, 0.3, 0.2)
    np.testing.assert_array_equal(value(Constant(), each, 7), np.float32(each))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [0.7, 0.7, 0.7, 0.7]),
        (1, [0.6, 0.65, 0.7, 0.75]),
        (3, [0.4, 0.55, 0.7, 0.85]),
        (4, [0.3, 0.5, 0.7, 0.9]),
        (1000, [0.3, 0.5, 0.7, 0.9]),
    ],
)
def test_linear_by_hand(step, expected):
    schedule = Linear((0.3, 0.5, 0.7, 0.9), steps=4)
    np.testing.assert_allclose(value(schedule, (0.7,), step), expected, rtol=1e-6)


def test_linear_ends_on_the_final_value_exactly():
    final = (0.3, 0.1, 0.7, 0.9)
    np.testing.assert_array_equal(value(Linear(final, 3), (0.7,), 3), np.float32(final))


def test_adaptive_is_the_mean_achieved_or_epsilon_where_that_is_wider():
    np.testing.assert_allclose(value(Adaptive(), (0.1, 0.55, 0.4, 0.5)), [0.5, 0.55, 0.5, 0.5])


def test_adaptive_averages_over_the_dimensions_seen():
    known = jnp.array([True, False, True, False])
    np.testing.assert_allclose(value(Adaptive(), (0.1,), known=known), [0.6] * 4, rtol=1e-6)
    nothing = jnp.zeros(4, bool)
    np.testing.assert_array_equal(value(Adaptive(), (0.5,), known=nothing), np.float32([0.5] * 4))
