"""Multipliers: hand numbers over several steps, and both optima of a convex problem by SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives.duals.ascent import Duals
from dignified_jax.objectives.duals.controllers import Ascent, Augmented, NuPI
from dignified_jax.objectives.duals.signals import Ema, Window
from dignified_jax.objectives.duals.tolerances import Adaptive, Constant, Linear
from dignified_jax.objectives.lagdpo import LagDPO
from tests.oracles import convex

PRESENT = jnp.ones(3, bool)
BATCH = Ema(0.0)
NUPI = NuPI(rate=0.1, proportional=2.0, integral=0.5, smoothing=0.8)


def rule(controller=None, signal=BATCH, epsilon=(0.5,), **options):
    settings = {"schedule": Constant(), "epsilon": epsilon, "cap": 10.0} | options
    return Duals(signal=signal, controller=controller or Ascent(0.1), **settings)


def path(duals, start, losses, present=None):
    """Multipliers after each row of losses, (step, K), and the last state."""
    state, seen = duals.init(jnp.asarray(start, jnp.float32)), []
    for number, row in enumerate(losses):
        held = PRESENT if present is None else jnp.asarray(present[number])
        state = duals.update(state, jnp.asarray(row, jnp.float32), held)
        seen.append(state.multipliers)
    return np.stack(seen), state


def test_ascent_by_hand():
    multipliers, state = path(rule(), [0.0, 0.2, 9.99], [[0.7, 0.1, 1.5], [0.1, 0.1, 0.4]])
    # The first is projected on 0 in the second step, the last on the cap in the first.
    np.testing.assert_allclose(multipliers, [[0.02, 0.16, 10.0], [0.0, 0.12, 9.99]], rtol=1e-6)
    assert (state.step, state.step.dtype) == (2, jnp.int32)


def test_nupi_by_hand():
    """e = 0.2, -0.1, 0.1; xi = 0.04, 0.012, 0.0296; change = 0.5 e + 2 (xi - xi before)."""
    multipliers, state = path(rule(NUPI), [1.0, 1.0, 1.0], [[0.7] * 3, [0.4] * 3, [0.6] * 3])
    changes = [0.1 * (0.1 + 0.08), 0.1 * (-0.05 - 0.056), 0.1 * (0.05 + 0.0352)]
    np.testing.assert_allclose(multipliers[:, 0], 1.0 + np.cumsum(changes), rtol=1e-6)
    np.testing.assert_allclose(state.controller, [0.0296] * 3, rtol=1e-6)


def test_nupi_without_the_proportional_part_is_ascent():
    losses = np.random.default_rng(0).random((6, 3))
    plain = path(rule(), [0.3] * 3, losses)[0]
    nupi = path(rule(NuPI(0.1, proportional=0.0, integral=1.0, smoothing=0.9)), [0.3] * 3, losses)
    np.testing.assert_allclose(nupi[0], plain, rtol=1e-6, atol=1e-7)


def test_augmented_by_hand():
    duals = rule(Augmented(0.5), signal=Ema(0.5))
    state = duals.init(jnp.array([0.0, 0.2, 9.9]))
    np.testing.assert_array_equal(duals.weights(state), state.multipliers)  # nothing seen yet
    multipliers, state = path(duals, [0.0, 0.2, 9.9], [[0.9, 0.3, 0.9], [0.6, 0.3, 0.9]])
    # g = 0.4, -0.2, 0.4; then the average's: (0.5 x 0.9 + 0.6) / 1.5 - 0.5 = 0.2, -0.2, 0.4
    np.testing.assert_allclose(multipliers, [[0.2, 0.1, 10.0], [0.3, 0.0, 10.0]], atol=1e-6)
    # The weights take a further step of the penalty, projected and capped.
    np.testing.assert_allclose(duals.weights(state), [0.4, 0.0, 10.0], atol=1e-6)


@pytest.mark.parametrize("controller", [Ascent(0.1), NUPI])
def test_weights_are_the_multipliers_unless_augmented(controller):
    duals = rule(controller)
    _, state = path(duals, [0.1, 0.2, 0.3], [[0.9, 0.3, 0.9]])
    np.testing.assert_array_equal(duals.weights(state), state.multipliers)


def test_restart_drops_a_satisfied_multiplier_to_zero():
    losses = [[0.7, 0.4, 0.5], [0.4, 0.7, 0.6]]
    multipliers, _ = path(rule(restart=True), [1.0, 1.0, 1.0], losses)
    np.testing.assert_allclose(multipliers, [[1.02, 0.0, 0.0], [0.0, 0.02, 0.01]], rtol=1e-6)


def test_linear_tolerance_counts_every_update():
    duals = rule(schedule=Linear((0.5,), steps=2), epsilon=(0.7,))
    held = [[True, False, True]] * 3
    multipliers, state = path(duals, [1.0, 1.0, 1.0], [[0.8, 0.8, 0.6]] * 3, held)
    # e = 0.1, 0.2, 0.3 and -0.1, 0.0, 0.1
    np.testing.assert_allclose(multipliers[:, 0], [1.01, 1.03, 1.06], rtol=1e-6)
    np.testing.assert_allclose(multipliers[:, 2], [0.99, 0.99, 1.0], rtol=1e-6)
    assert state.step == 3 and (multipliers[:, 1] == 1).all()


def test_adaptive_tolerance_moves_the_multipliers_apart():
    """An epsilon of 0 is out of reach: the fixed one raises all, the adaptive one the worst."""
    losses = [[0.9, 0.6, 0.3]] * 4
    fixed = path(rule(epsilon=(0.0,)), [1.0] * 3, losses)[0]
    adaptive = path(rule(schedule=Adaptive(), epsilon=(0.0,)), [1.0] * 3, losses)[0]
    assert (np.diff(fixed, axis=0) > 0).all()
    np.testing.assert_allclose(adaptive[-1], [1.12, 1.0, 0.88], rtol=1e-6)


def test_adaptive_tolerance_remembers_an_absent_dimension():
    duals = rule(schedule=Adaptive(), epsilon=(0.0,))
    held = [[True] * 3, [True, True, False]]
    multipliers, _ = path(duals, [1.0] * 3, [[0.9, 0.6, 0.3], [0.6, 0.6, 0.0]], held)
    # The mean of 0.6, 0.6 and the 0.3 of the step before is 0.5.
    np.testing.assert_allclose(multipliers[1], [1.04, 1.01, 0.97], rtol=1e-6)


@pytest.mark.parametrize("signal", [BATCH, Ema(0.5), Window(2)])
@pytest.mark.parametrize("controller", [Ascent(0.1), NUPI, Augmented(0.1)])
def test_an_absent_dimension_keeps_everything(controller, signal):
    duals = rule(controller, signal)
    _, state = path(duals, [0.3] * 3, [[0.9, 0.9, 0.9]])
    after = duals.update(state, jnp.zeros(3), jnp.array([True, False, True]))
    kept = [(state.multipliers, after.multipliers)]
    for part in ("memory", "controller"):
        leaves = (jax.tree.leaves(getattr(each, part)) for each in (state, after))
        kept += zip(*leaves, strict=True)
    assert len(kept) == 3 + (controller is NUPI)
    for old, new in kept:
        np.testing.assert_array_equal(new[..., 1], old[..., 1])
    assert after.multipliers[0] != state.multipliers[0]
    assert not np.array_equal(signal.value(after.memory)[0], signal.value(state.memory)[0])


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_unlimited_tolerance_leaves_lambda_at_zero(rate):
    duals = rule(Ascent(rate), epsilon=(float("inf"),))
    multipliers, _ = path(duals, [0.0] * 3, [[5.0, 5.0, 5.0]] * 2)
    np.testing.assert_array_equal(multipliers, np.zeros((2, 3)))


@pytest.fixture(scope="module")
def problem():
    return convex.solve()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"signal": Ema()},
        {"signal": Window()},
        {"normalize_weights": True},
        {"controller": NuPI(0.5, proportional=20.0)},
        {"controller": NuPI(0.5, proportional=20.0, smoothing=0.0)},
        {"controller": Augmented(0.5), "signal": Ema()},
        {"controller": Augmented(5.0), "signal": Ema(0.5)},
        {"controller": Augmented(0.5), "signal": Window()},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())) or "ascent",
)
def test_primal_and_dual_optimum_of_a_convex_problem(problem, fields):
    """Lag-DPO's own loss and update, run to convergence, reach SciPy's optimum and multipliers."""
    method = LagDPO(
        beta=convex.BETA,
        epsilon=tuple(map(float, problem.epsilon)),
        lambda_max=100.0,
        **{"controller": Ascent(0.5)} | fields,
    )
    x, state = convex.descend(problem, method, steps=20_000, rate=1.0)
    np.testing.assert_allclose(x, problem.x, atol=1e-5)
    np.testing.assert_allclose(state.multipliers, problem.multipliers, atol=5e-4)


def test_a_linear_schedule_reaches_the_optimum_of_its_final_tolerance(problem):
    method = LagDPO(
        beta=convex.BETA,
        epsilon=(0.7,),
        schedule=Linear(tuple(map(float, problem.epsilon)), 1000),
        controller=Ascent(0.5),
        lambda_max=100.0,
    )
    x, state = convex.descend(problem, method, steps=20_000, rate=1.0)
    np.testing.assert_allclose(x, problem.x, atol=1e-5)
    np.testing.assert_allclose(state.multipliers, problem.multipliers, atol=5e-4)
