"""The objectives behind their shared interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import (
    METHODS,
    MODPO,
    SFT,
    LagDPO,
    MultiNegativeDPO,
    MultiStage,
    PCGradDPO,
    SafeRLHF,
    ScoredBatch,
    dpo,
)
from dignified_jax.objectives.duals.controllers import Ascent, Augmented, NuPI
from dignified_jax.objectives.duals.signals import Batch, Ema, Window
from dignified_jax.objectives.duals.tolerances import Constant, Linear

RNG = np.random.default_rng(0)
SCORES = jnp.asarray(RNG.normal(size=(9, 5)), jnp.float32)
MASK = jnp.asarray(RNG.random((9, 5)) < 0.6).at[:, 0].set(True)
REWARDS = jnp.asarray(RNG.normal(size=(9, 5, 4)), jnp.float32)
ALL = (SFT, LagDPO, MultiNegativeDPO, MODPO, PCGradDPO, SafeRLHF)
LENGTH = jnp.where(MASK, jnp.asarray(RNG.integers(1, 9, (9, 5))), 0)
BATCH = ScoredBatch(SCORES, MASK, LENGTH, REWARDS)


def evaluate(method, state=None, mask=MASK, scores=SCORES):
    state = method.init(4) if state is None else state
    return method.loss(ScoredBatch(scores, mask, LENGTH), method.batch_counts(mask, LENGTH), state)


def updated(method, state, losses):
    """The state after a batch that has every dimension."""
    return method.update(state, jnp.asarray(losses), jnp.ones(4, bool), BATCH)


def test_lagdpo_weights_each_dimension_by_one_plus_lambda():
    method = LagDPO(lambda_init=(0.0, 1.0, 2.0, 0.5))
    loss, losses = evaluate(method)
    expected = np.sum((1 + np.array([0.0, 1.0, 2.0, 0.5])) * np.asarray(losses)) / 4
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses, dpo.dimension_losses(SCORES, MASK, dpo.pair_counts(MASK), 0.1), rtol=1e-7
    )


def test_lagdpo_holds_lambda_constant_in_the_gradient():
    augmented = {"controller": Augmented(), "signal": Ema(), "normalize_weights": True}
    for fields in ({}, augmented):
        method = LagDPO(lambda_init=(1.0,), **fields)
        state = updated(method, method.init(4), jnp.full(4, 0.7))
        gradient = jax.grad(lambda st, m=method: evaluate(m, st)[0], allow_int=True)(state)
        for leaf in jax.tree.leaves((gradient.multipliers, gradient.memory)):
            np.testing.assert_array_equal(leaf, np.zeros(4))


def test_normalized_weights_add_up_to_the_number_of_dimensions():
    weights = (1.0 + np.array([0.0, 1.0, 2.0, 0.5])) / (1.0 + 3.5 / 4)
    np.testing.assert_allclose(weights.sum(), 4.0)
    method = LagDPO(lambda_init=(0.0, 1.0, 2.0, 0.5), normalize_weights=True)
    loss, losses = evaluate(method)
    np.testing.assert_allclose(loss, np.sum(weights * np.asarray(losses)) / 4, rtol=1e-6)


def test_the_augmented_weights_are_those_of_its_lagrangian():
    """d/dL of (1/2c)([lambda + c (L - epsilon)]_+^2 - lambda^2), by finite differences."""
    c, epsilon, multipliers = 0.8, 0.5, np.array([0.0, 0.3, 0.3, 1.0])
    method = LagDPO(
        lambda_init=tuple(multipliers),
        controller=Augmented(c),
        signal=Ema(),
    )
    seen = np.array([0.7, 0.7, 0.05, 0.4])
    state = method.init(4).replace(memory=method.duals.signal.push(method.init(4).memory, seen))

    def penalty(losses):
        raised = np.maximum(multipliers + c * (losses - epsilon), 0.0)
        return (raised**2 - multipliers**2) / (2 * c)

    slopes = (penalty(seen + 1e-6) - penalty(seen - 1e-6)) / 2e-6
    loss, losses = evaluate(method, state)
    np.testing.assert_allclose(loss, np.sum((1 + slopes) * np.asarray(losses)) / 4, rtol=1e-6)


@pytest.mark.parametrize("signal", [Batch(), Ema()])
def test_lagdpo_with_wide_tolerance_is_multi_negative_to_the_bit(signal):
    lag, plain = LagDPO(epsilon=(1e9,), signal=signal), MultiNegativeDPO()
    state = lag.init(4)
    for seed in range(5):
        scores = SCORES * (seed + 1)
        value = jax.value_and_grad(lambda s, st=state: evaluate(lag, st, scores=s)[0])(scores)
        other = jax.value_and_grad(lambda s: evaluate(plain, scores=s)[0])(scores)
        for left, right in zip(value, other, strict=True):
            np.testing.assert_array_equal(left, right)
        losses = evaluate(lag, state, scores=scores)[1]
        state = updated(lag, state, losses)
        np.testing.assert_array_equal(state.multipliers, np.zeros(4))


def test_weights_of_multi_negative_by_hand():
    weights = np.array([2.0, 0.0, 1.0, 0.5])
    losses = np.asarray(evaluate(MultiNegativeDPO())[1])
    loss, _ = evaluate(MultiNegativeDPO(weights=tuple(weights)))
    np.testing.assert_allclose(loss, np.sum(weights * losses) / 3.5, rtol=1e-6)
    pairs = np.asarray(dpo.pair_mask(MASK))
    pair_losses = np.asarray(dpo.pair_losses(SCORES, MASK, 0.1))
    loss, _ = evaluate(MultiNegativeDPO(weights=tuple(weights), average="pair"))
    expected = np.average(pair_losses, weights=pairs * weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("average", ["dimension", "pair"])
def test_one_hot_weights_are_dpo_on_one_dimension(average):
    method = MultiNegativeDPO(weights=(0.0, 0.0, 3.0, 0.0), average=average)
    gradient = jax.grad(lambda s: evaluate(method, scores=s)[0])(SCORES)
    assert not gradient[:, [1, 2, 4]].any() and gradient[:, 3].any()
    loss, losses = evaluate(method)
    assert loss == losses[2]
    alone = MASK.at[:, 3].set(False)
    assert evaluate(method, mask=alone)[0] == 0  # no pair of that dimension


def test_pair_average_is_the_mean_over_all_pairs():
    loss, _ = evaluate(MultiNegativeDPO(average="pair"))
    pairs = np.asarray(dpo.pair_mask(MASK))
    losses = np.asarray(dpo.pair_losses(SCORES, MASK, 0.1))
    np.testing.assert_allclose(loss, losses[pairs].mean(), rtol=1e-6)


def test_an_absent_dimension_adds_nothing():
    mask = MASK.at[:, 3].set(False)
    for method in (LagDPO(lambda_init=(0.5,)), MultiNegativeDPO()):
        loss, losses = evaluate(method, mask=mask)
        assert losses[2] == 0 and np.isfinite(loss)


def test_untrained_policy_has_log_2_in_every_dimension():
    for method in (LagDPO(), MultiNegativeDPO()):
        loss, losses = evaluate(method, mask=jnp.ones((9, 5), bool), scores=jnp.zeros((9, 5)))
        np.testing.assert_array_equal(losses, np.float32(np.log(2)) * np.ones(4, np.float32))
        np.testing.assert_allclose(loss, np.log(2), rtol=1e-7)


def test_sft_is_the_token_mean():
    mask = MASK.at[2].set(False)
    loss, losses = evaluate(SFT(), mask=mask)
    golden, tokens = np.asarray(SCORES)[:, 0], np.asarray(LENGTH)[:, 0]
    held = np.asarray(mask)[:, 0]
    np.testing.assert_allclose(loss, -golden[held].sum() / tokens[held].sum(), rtol=1e-6)
    for k in range(4):
        has = np.asarray(mask)[:, k + 1] & held
        np.testing.assert_allclose(losses[k], -golden[has].sum() / tokens[has].sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_losses_of_parts_add_up(kind):
    method = kind()
    counts, state = method.batch_counts(MASK, LENGTH), method.init(4)
    rewards = REWARDS if method.needs_rewards else None
    part = jnp.arange(9)[:, None] < 4
    left, right, whole = (
        method.loss(ScoredBatch(SCORES, mask, LENGTH, rewards), counts, state)
        for mask in (MASK & part, MASK & ~part, MASK)
    )
    for a, b, c in zip(left, right, whole, strict=True):
        np.testing.assert_allclose(a + b, c, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_masked_scores_reach_neither_loss_nor_gradient(kind):
    method = kind()
    counts, state = method.batch_counts(MASK, LENGTH), method.init(4)

    def loss(scores, rewards):
        rewards = rewards if method.needs_rewards else None
        return method.loss(ScoredBatch(scores, MASK, LENGTH, rewards), counts, state)[0]

    spoilt = jnp.where(MASK, SCORES, jnp.nan), jnp.where(MASK[:, :, None], REWARDS, jnp.nan)
    for left, right in zip(
        jax.value_and_grad(loss)(SCORES, REWARDS), jax.value_and_grad(loss)(*spoilt), strict=True
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("kind", ALL)
def test_state_keeps_its_shapes_and_types_in_a_jitted_update(kind):
    method = kind()
    state = method.init(4)
    losses, present = jnp.full(4, 0.6), jnp.ones(4, bool)
    after = jax.jit(method.update)(state, losses, present, BATCH)
    assert jax.tree.structure(state) == jax.tree.structure(after)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
    assert all(value.shape == (4,) for value in method.metrics(after).values())


def test_every_method_has_a_name_of_its_own():
    assert len({kind.name for kind in ALL}) == len(ALL)
    ours = {kind for kind in METHODS.values() if kind.__module__.startswith("dignified_jax.")}
    assert {kind for kind in ours if not issubclass(kind, MultiStage)} == set(ALL)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0, 0.0, 0.0), (-1.0,), (float("inf"),)])
@pytest.mark.parametrize("kind", [MultiNegativeDPO, MODPO])
def test_weights_are_refused_by_name(kind, weights):
    with pytest.raises(ValueError, match=r"method\.weights (needs a|must be)"):
        kind(weights=weights)
    with pytest.raises(ValueError, match=r"method\.weights needs 1 or 4 entries, found \(1\.0, 2"):
        kind(weights=(1.0, 2.0)).init(4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta": 0.0}, "method.beta must be positive, found 0.0"),
        ({"lambda_max": -1.0}, "method.lambda_max must be positive"),
        ({"epsilon": (-0.1,)}, "method.epsilon must be at least 0"),
        ({"epsilon": ()}, "method.epsilon needs an entry"),
        ({"lambda_init": (11.0,)}, "exceeds method.lambda_max"),
        ({"controller": Augmented()}, "contradicts method.signal.name='batch'"),
        ({"epsilon": (float("inf"),), "controller": NuPI()}, "must be finite with .*'nupi'"),
    ],
)
def test_lagdpo_refuses_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        LagDPO(**fields)


def test_the_signal_is_the_batch_or_a_moving_average_of_it():
    losses = [jnp.array([0.9, 0.6, 0.5, 0.4]), jnp.array([0.5, 0.6, 0.9, 0.4])]
    for fields, mean in (
        ({}, losses[1]),
        ({"signal": Ema(0.5)}, (0.5 * losses[0] + losses[1]) / 1.5),
        ({"signal": Ema()}, (0.9 * losses[0] + losses[1]) / 1.9),
    ):
        constant = {"schedule": Constant(), "controller": Ascent(0.1)}
        method = LagDPO(lambda_init=(1.0,), **constant, **fields)
        first = updated(method, method.init(4), losses[0])
        second = updated(method, first, losses[1])
        step = second.multipliers - first.multipliers
        np.testing.assert_allclose(step, 0.1 * (mean - 0.5), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ema(1.0), "method.signal.decay must be below 1"),
        (lambda: Window(0), "method.signal.length must be at least 1, found 0"),
        (lambda: NuPI(smoothing=1.0), "method.controller.smoothing must be below 1"),
        (lambda: NuPI(integral=-1.0), "method.controller.integral must be at least 0"),
        (lambda: NuPI(integral=0.0, proportional=0.0), "are both 0"),
        (lambda: Augmented(0.0), "method.controller.penalty must be positive"),
        (lambda: Ascent(float("nan")), "method.controller.rate must be a number"),
        (lambda: Linear((), 3), "method.schedule.final needs an entry"),
        (lambda: Linear((0.4,), 0), "method.schedule.steps must be at least 1, found 0"),
        (
            lambda: LagDPO(epsilon=(float("inf"),), schedule=Linear((0.4,), 3)).check("ATEC"),
            "must be finite with a linear schedule",
        ),
    ],
)
def test_parts_of_the_rule_refuse_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_moving_epsilon_is_logged():
    method = LagDPO(epsilon=(0.7,), schedule=Linear((0.5,), steps=2))
    state = updated(method, method.init(4), jnp.full(4, 0.6))
    np.testing.assert_allclose(method.metrics(state)["epsilon"], [0.6] * 4, rtol=1e-6)
    constant = LagDPO(schedule=Constant())
    assert set(constant.metrics(constant.init(4))) == {"lambda"}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("epsilon", {"epsilon": (0.1, 0.2)}),
        ("lambda_init", {"lambda_init": (0.1, 0.2)}),
        ("schedule.final", {"schedule": Linear((0.1, 0.2), 5)}),
    ],
)
def test_lagdpo_refuses_a_wrong_number_of_entries(field, fields):
    with pytest.raises(ValueError, match=f"method.{field} needs 1 or 4 entries"):
        LagDPO(**fields).check("ATEC")
