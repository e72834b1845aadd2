"""Dual signals against averages written out."""

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives.duals.signals import Ema, Window

SEEN = np.float32([[0.9, 0.6], [0.5, 0.6], [0.1, 0.6], [0.3, 0.2]])


def pushed(signal, rows=SEEN):
    memory = signal.init(2)
    for row in rows:
        memory = signal.push(memory, jnp.asarray(row))
    return memory


def test_moving_average_is_unbiased():
    value, _ = Ema(0.8).value(pushed(Ema(0.8)))
    expected = np.average(SEEN, axis=0, weights=[0.8**3, 0.8**2, 0.8, 1.0])
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_no_decay_is_the_last_batch_exactly():
    value, _ = Ema(0.0).value(pushed(Ema(0.0)))
    np.testing.assert_array_equal(value, SEEN[-1])


@pytest.mark.parametrize(
    ("rows", "expected"), [(2, [0.7, 0.6]), (3, [0.5, 0.6]), (4, [0.3, 1.4 / 3])]
)
def test_window_is_the_mean_of_the_last_three(rows, expected):
    value, _ = Window(3).value(pushed(Window(3), SEEN[:rows]))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("signal", [Ema(0.0), Ema(0.9), Window(3)])
def test_nothing_is_known_before_the_first_batch(signal):
    value, known = signal.value(signal.init(2))
    np.testing.assert_array_equal(value, [0.0, 0.0])
    assert not known.any()
    assert signal.value(pushed(signal, SEEN[:1]))[1].all()
