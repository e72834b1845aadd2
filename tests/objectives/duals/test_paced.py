"""Rules in units of the run: the same path of lambda whatever the number of steps."""

import dataclasses
import math
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.paced import PacedAscent, PacedEma, PacedLinear
from dignified_jax.objectives.duals.signals import Ema
from dignified_jax.objectives.duals.tolerances import Linear
from dignified_jax.objectives.lagdpo import LagDPO
from dignified_jax.training import config as training_config
from dignified_jax.training.run_context import RunContext

PRESENT = jnp.ones(1, bool)
PACED = LagDPO(
    epsilon=(0.6,),
    controller=PacedAscent(20.0),
    signal=PacedEma(0.1),
    schedule=PacedLinear((0.4,), share=0.5),
)


def violation(share):
    """A loss that depends on the share of the run that is done alone."""
    return 0.9 - 0.5 * share + 0.1 * np.sin(9 * share)


def path(method, steps):
    """Lambda after each step of a run."""
    duals = method.for_steps(steps).duals
    state, found = duals.init(jnp.zeros(1)), []
    for step in range(steps):
        losses = jnp.array([violation((step + 0.5) / steps)], jnp.float32)
        state = duals.update(state, losses, PRESENT)
        found.append(float(state.multipliers[0]))
    return np.array(found)


def test_each_rule_is_that_of_a_step_over_the_steps():
    found = PACED.for_steps(50)
    assert found.controller == Ascent(20.0 / 50)
    assert found.signal == Ema(math.exp(-1 / 5))
    assert found.schedule == Linear((0.4,), 25)
    assert found.for_steps(7) == found  # what is per step already stays


def test_the_path_depends_on_the_share_of_the_run_and_not_on_its_steps():
    short, long = path(PACED, 27), path(PACED, 216)
    # The end of each of 27 steps, and the same shares of 8 times as many. What is left is of
    # first order in 1 / 27: the step of the sums, and 13.5 steps of the schedule that are 14.
    np.testing.assert_allclose(short, long[7::8], rtol=0.06)
    assert short.max() > 2.5
    # By a rate per step the paths differ by the number of steps.
    plain = dataclasses.replace(PACED, controller=Ascent(0.1))
    assert path(plain, 216)[-1] > 7 * path(plain, 27)[-1]


def test_a_constant_violation_throughout_ends_at_rate_times_it():
    duals = LagDPO(epsilon=(0.5,), controller=PacedAscent(8.0)).for_steps(40).duals
    state = duals.init(jnp.zeros(2))
    for _ in range(40):  # adaptive tolerances: the mean of 0.9 and 0.5
        state = duals.update(state, jnp.array([0.9, 0.5]), jnp.ones(2, bool))
    np.testing.assert_allclose(state.multipliers, [8.0 * 0.2, 0.0], rtol=1e-5)


def test_a_run_gives_them_its_own_steps():
    context = SimpleNamespace(config=SimpleNamespace(method=PACED), steps=40)
    assert RunContext.objective.fget(context) == PACED.for_steps(40)


def test_the_defaults_are_their_own_rule():
    assert LagDPO().for_steps(27) == LagDPO()


@pytest.mark.parametrize("part", ["controller", "signal", "schedule"])
def test_without_the_steps_they_refuse(part):
    method = LagDPO(**{part: getattr(PACED, part)}, epsilon=(0.6,))
    with pytest.raises(ValueError, match=f"method.{part}.name='paced.*' needs the steps"):
        method.duals.update(method.duals.init(jnp.zeros(1)), jnp.ones(1), PRESENT)


def test_they_are_chosen_by_name():
    config = training_config.parse(
        {"method": {"name": "lagdpo", "controller": {"name": "paced", "rate": 30.0}}}
    )
    assert config.method.controller == PacedAscent(30.0)
    for key, section in (("signal", "paced_ema"), ("schedule", "paced_linear")):
        with pytest.raises(training_config.ConfigError, match="share must be positive"):
            fields = {"name": section, "share": 0.0}
            fields |= {"final": (0.4,)} if key == "schedule" else {}
            training_config.parse({"method": {"name": "lagdpo", key: fields}})
