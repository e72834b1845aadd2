"""The objectives behind their shared interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import METHODS, SFT, LagDPO, MultiNegativeDPO, dpo

RNG = np.random.default_rng(0)
SCORES = jnp.asarray(RNG.normal(size=(9, 5)), jnp.float32)
MASK = jnp.asarray(RNG.random((9, 5)) < 0.6).at[:, 0].set(True)
LENGTH = jnp.where(MASK, jnp.asarray(RNG.integers(1, 9, (9, 5))), 0)


def evaluate(method, state=None, mask=MASK, scores=SCORES):
    state = method.init(4) if state is None else state
    return method.loss(scores, mask, method.normalizer(mask, LENGTH), state)


def test_lagdpo_weights_each_dimension_by_one_plus_lambda():
    method = LagDPO(lambda_init=(0.0, 1.0, 2.0, 0.5))
    loss, losses = evaluate(method)
    expected = np.sum((1 + np.array([0.0, 1.0, 2.0, 0.5])) * np.asarray(losses)) / 4
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses, dpo.dimension_losses(SCORES, MASK, dpo.pair_counts(MASK), 0.1), rtol=1e-7
    )


def test_lagdpo_holds_lambda_constant_in_the_gradient():
    method = LagDPO(lambda_init=(1.0,))
    gradient = jax.grad(lambda state: evaluate(method, state)[0])(method.init(4))
    np.testing.assert_array_equal(gradient.multipliers, np.zeros(4))


@pytest.mark.parametrize("signal", ["batch", "ema"])
def test_lagdpo_with_wide_tolerance_is_multi_negative_to_the_bit(signal):
    lag, plain = LagDPO(epsilon=(1e9,), dual_signal=signal), MultiNegativeDPO()
    state = lag.init(4)
    for seed in range(5):
        scores = SCORES * (seed + 1)
        value = jax.value_and_grad(lambda s, st=state: evaluate(lag, st, scores=s)[0])(scores)
        other = jax.value_and_grad(lambda s: evaluate(plain, scores=s)[0])(scores)
        for left, right in zip(value, other, strict=True):
            np.testing.assert_array_equal(left, right)
        losses = evaluate(lag, state, scores=scores)[1]
        state = lag.update(state, losses, jnp.ones(4, bool))
        np.testing.assert_array_equal(state.multipliers, np.zeros(4))


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


@pytest.mark.parametrize("name", METHODS)
def test_losses_of_parts_add_up(name):
    method = METHODS[name]()
    normalizer, state = method.normalizer(MASK, LENGTH), method.init(4)
    part = jnp.arange(9)[:, None] < 4
    left = method.loss(SCORES, MASK & part, normalizer, state)
    right = method.loss(SCORES, MASK & ~part, normalizer, state)
    whole = method.loss(SCORES, MASK, normalizer, state)
    for a, b, c in zip(left, right, whole, strict=True):
        np.testing.assert_allclose(a + b, c, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta": 0.0}, "method.beta must be positive, found 0.0"),
        ({"lambda_max": -1.0}, "method.lambda_max must be positive"),
        ({"epsilon": (-0.1,)}, "method.epsilon needs entries of at least 0"),
        ({"epsilon": ()}, "method.epsilon needs entries"),
        ({"lambda_init": (11.0,)}, "exceeds method.lambda_max"),
        ({"ema_decay": 1.0, "dual_signal": "ema"}, r"method.ema_decay must be in \[0, 1\)"),
        ({"ema_decay": 0.5}, "method.ema_decay=0.5 contradicts method.dual_signal='batch'"),
        ({"dual_learning_rate": float("nan")}, "method.dual_learning_rate"),
    ],
)
def test_lagdpo_refuses_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        LagDPO(**fields)


def test_the_signal_is_the_batch_or_a_moving_average_of_it():
    losses = [jnp.array([0.9, 0.6, 0.5, 0.4]), jnp.array([0.5, 0.6, 0.9, 0.4])]
    for fields, mean in (
        ({}, losses[1]),
        ({"dual_signal": "ema", "ema_decay": 0.5}, (0.5 * losses[0] + losses[1]) / 1.5),
        ({"dual_signal": "ema"}, (0.9 * losses[0] + losses[1]) / 1.9),
    ):
        method = LagDPO(lambda_init=(1.0,), **fields)
        first = method.update(method.init(4), losses[0], jnp.ones(4, bool))
        second = method.update(first, losses[1], jnp.ones(4, bool))
        step = second.multipliers - first.multipliers
        np.testing.assert_allclose(step, 0.1 * (mean - 0.5), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("field", ["epsilon", "lambda_init"])
def test_lagdpo_refuses_a_wrong_number_of_entries(field):
    with pytest.raises(ValueError, match=f"method.{field} needs 1 or 4 entries"):
        LagDPO(**{field: (0.1, 0.2)}).init(4)
