"""SafeRLHF: the loss and the multiplier's path by hand."""

import collections
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import SafeRLHF, ScoredBatch


def softplus(x):
    return math.log1p(math.exp(x))


def batch(margins, beta=0.1, size=3):
    """Responses of `size` examples, given as {dimension number: reward margin}."""
    scores = np.zeros((size, 5), np.float32)
    mask = np.zeros((size, 5), bool)
    for row, of_row in enumerate(margins):
        mask[row, 0] = bool(of_row)
        for k, margin in of_row.items():
            scores[row, 1 + k], mask[row, 1 + k] = -margin / beta, True
    return ScoredBatch(jnp.asarray(scores), jnp.asarray(mask), jnp.asarray(mask, jnp.int32))


def loss_of(method, scored, state):
    return method.loss(scored, method.batch_counts(scored.mask, scored.lengths), state)


@functools.partial(jax.jit, static_argnums=0)
def jitted_update(method, state, scored):
    _, losses = loss_of(method, scored, state)
    return method.update(state, losses, scored.mask[:, 1:].any(axis=0), scored)


def update(method, state, margins):
    return jitted_update(method, state, batch(margins))


def test_loss_by_hand():
    """A 1.0 and -0.5; T 0.2; E 0.0; no C: L_dignity = (L_A + L_T) / 2, L_peer = L_E / 2."""
    method = SafeRLHF(lambda_init=3.0)
    scored = batch([{0: 1.0, 1: 0.2}, {0: -0.5, 2: 0.0}])
    loss, losses = loss_of(method, scored, method.init(4))
    of_a, of_t, of_e = (softplus(-1.0) + softplus(0.5)) / 2, softplus(-0.2), math.log(2)
    np.testing.assert_allclose(losses, [of_a, of_t, of_e, 0.0], rtol=1e-6)
    expected = (of_e / 2 + 3.0 * (of_a + of_t) / 2) / 4.0
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_lambda_path_by_hand():
    """Three steps; the window of 3 examples drops the oldest, and skips those without a pair."""
    method = SafeRLHF(window=3, dual_learning_rate=0.5, epsilon=0.6)
    state = method.init(4)
    np.testing.assert_allclose(method.metrics(state)["lambda"], [1.0, 1.0, 0.0, 0.0])
    values = [softplus(-0.3), (softplus(1.0) + softplus(0.4)) / 2, softplus(-2.0), softplus(0.1)]
    steps = [
        [{0: 0.3}, {2: 5.0}, {}],  # one value; the others have no constrained pair
        [{0: -1.0, 1: -0.4, 3: 9.0}, {1: 2.0}],  # A and T of one example average
        [{0: -0.1}],
    ]
    windows = [values[:1], values[:3], values[1:4]]
    nu = 0.0
    for margins, window in zip(steps, windows, strict=True):
        state = update(method, state, margins)
        nu += 0.5 * math.exp(nu) * (sum(window) / len(window) - 0.6)
        np.testing.assert_allclose(state.log_multiplier, nu, atol=1e-7)
        np.testing.assert_allclose(np.asarray(state.values)[state.filled], window, rtol=1e-6)
    np.testing.assert_allclose(method.metrics(state)["lambda"][0], math.exp(nu), rtol=1e-6)


def test_window_is_a_deque_of_examples():
    """Random batches, some larger than the window, against collections.deque."""
    method = SafeRLHF(window=7, dual_learning_rate=0.05)
    rng = np.random.default_rng(0)
    state, costs, nu = method.init(4), collections.deque(maxlen=7), 0.0
    for size in (3, 5, 1, 20, 2, 4):
        scores = np.float32(rng.normal(size=(20, 5)) * 10)
        mask = (rng.random((20, 5)) < 0.5) & (np.arange(20) < size)[:, None]
        state = jitted_update(method, state, ScoredBatch(scores, mask, np.int32(mask)))
        for row, has in zip(scores.astype(np.float64), mask, strict=True):
            constrained = [0.1 * (row[0] - row[k]) for k in (1, 2) if has[0] and has[k]]
            if constrained:
                costs.append(np.mean(np.logaddexp(0.0, -np.array(constrained))))
        if (mask[:, :1] & mask[:, 1:3]).any():
            nu += 0.05 * math.exp(nu) * (np.mean(costs) - 0.5)
        np.testing.assert_allclose(np.asarray(state.values)[state.filled], costs, rtol=1e-5)
        np.testing.assert_allclose(state.log_multiplier, nu, atol=1e-6)
    assert len(costs) == 7


def test_a_batch_without_a_constrained_pair_changes_nothing():
    method = SafeRLHF()
    state = update(method, method.init(4), [{0: 0.3}])
    after = update(method, state, [{2: 1.0}, {3: -1.0}])
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_lambda_is_clamped_above_and_stays_positive():
    method = SafeRLHF(lambda_max=1.5, dual_learning_rate=1.0)
    state = method.init(4)
    for _ in range(3):
        state = update(method, state, [{0: -5.0}])
    np.testing.assert_allclose(jnp.exp(state.log_multiplier), 1.5, rtol=1e-6)
    method = SafeRLHF(dual_learning_rate=50.0)
    state = update(method, method.init(4), [{0: 50.0}])
    assert 0 < jnp.exp(state.log_multiplier) < 1e-10


def test_lambda_is_constant_in_the_gradient():
    method = SafeRLHF()
    scored = batch([{0: 1.0, 2: 0.2}])
    state = method.init(4)

    def loss(nu):
        moved = state.replace(log_multiplier=nu)
        return loss_of(method, scored, moved)[0]

    assert jax.grad(loss)(state.log_multiplier) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta": 0.0}, "method.beta must be positive"),
        ({"lambda_init": 0.0}, "method.lambda_init must be positive"),
        ({"lambda_init": 6.0}, "method.lambda_init 6.0 exceeds method.lambda_max 5.0"),
        ({"window": 0}, "method.window must be at least 1, found 0"),
        ({"epsilon": math.inf}, "method.epsilon must be finite"),
        ({"dual_learning_rate": -0.1}, "method.dual_learning_rate must be at least 0"),
        ({"constrained": (True,) * 4}, "method.constrained needs a True"),
    ],
)
def test_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        SafeRLHF(**fields)


def test_one_flag_for_each_dimension():
    with pytest.raises(ValueError, match=r"method\.constrained needs 4 entries"):
        SafeRLHF(constrained=(True, False)).init(4)
