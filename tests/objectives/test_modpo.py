"""MODPO against a torch reference that follows the definition response by response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dignified_jax.objectives import MODPO, MultiNegativeDPO, ScoredBatch

RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(11, 5)).astype(np.float32) * 5
REWARDS = RNG.normal(size=(11, 5, 4)).astype(np.float32)
MASK = RNG.random((11, 5)) < 0.7
LENGTH = MASK.astype(np.int32)


def reference(scores, weights, beta):
    """(loss, losses) with the reward R_k written out for every response; float64."""
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    w = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    terms, losses = [], torch.zeros(4, dtype=torch.float64)
    for k in range(4):
        if w[k] == 0:
            continue

        def reward(i, y, k=k):
            others = sum(w[j] * rewards[i, y, j] for j in range(4) if j != k)
            return (beta * scores[i, y] - others) / w[k]

        pairs = [
            -torch.nn.functional.logsigmoid(reward(i, 0) - reward(i, 1 + k))
            for i in range(len(MASK))
            if MASK[i, 0] and MASK[i, 1 + k]
        ]
        terms.append(torch.stack(pairs).mean())
        losses[k] = terms[-1].detach()
    return torch.stack(terms).mean(), losses


def evaluate(method, scores, rewards=REWARDS):
    rewards = None if rewards is None else jnp.asarray(rewards)
    batch = ScoredBatch(jnp.asarray(scores), jnp.asarray(MASK), jnp.asarray(LENGTH), rewards)
    return method.loss(batch, method.batch_counts(batch.mask, batch.lengths), ())


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0, 1.0, 1.0), (0.1, 0.4, 0.2, 0.3), (2.0, 0.0, 1.0, 0.0)]
)
def test_loss_and_gradient_of_the_torch_reference(weights):
    scores = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    expected, losses = reference(scores, weights, beta=0.3)
    expected.backward()
    method = MODPO(beta=0.3, weights=weights)
    value = jax.value_and_grad(lambda s: evaluate(method, s), has_aux=True)
    (loss, of_dimensions), gradient = value(jnp.asarray(SCORES))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(of_dimensions, losses, rtol=1e-6)
    np.testing.assert_allclose(gradient, scores.grad, rtol=1e-5, atol=1e-8)


def test_default_weights_are_uniform():
    expected, _ = reference(torch.tensor(SCORES, dtype=torch.float64), (1.0,) * 4, beta=0.1)
    np.testing.assert_allclose(evaluate(MODPO(), SCORES)[0], expected.item(), rtol=1e-6)


@pytest.mark.parametrize("k", range(4))
def test_one_hot_weights_are_dpo_to_the_bit(k):
    weights = tuple(float(j == k) for j in range(4))
    modpo = jax.value_and_grad(lambda s: evaluate(MODPO(weights=weights), s)[0])
    dpo = jax.value_and_grad(lambda s: evaluate(MultiNegativeDPO(weights=weights), s, None)[0])
    for left, right in zip(modpo(SCORES), dpo(SCORES), strict=True):
        np.testing.assert_array_equal(left, right)


def test_loss_needs_the_rewards():
    with pytest.raises(TypeError, match=r"MODPO.loss needs rewards, \(example, 1 \+ K, K\)"):
        evaluate(MODPO(), SCORES, rewards=None)
