"""SACPO: the plan, and a tabular policy that it aligns in two stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from dignified_jax.objectives import sacpo


def test_plan_by_hand():
    stages = sacpo.plan([(0,), (3,), (1, 2)], 4, beta=0.2, multipliers=(2.0, 0.5))
    assert [stage.reference for stage in stages] == [None, 0, 1]
    assert [stage.method.beta for stage in stages] == [0.2, 0.1, 0.4]
    assert [stage.method.weights for stage in stages] == [
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 1.0, 1.0, 0.0),
    ]


def test_one_multiplier_for_all_later_stages():
    stages = sacpo.plan([[k] for k in range(4)], 4, multipliers=[4.0])
    assert [stage.method.beta for stage in stages] == [0.1, 0.025, 0.025, 0.025]
    (only,) = sacpo.plan([[0, 1, 2, 3]], 4)
    assert (only.reference, only.method.beta) == (None, 0.1)


# Preferences of three actions that follow a Bradley-Terry model with whole counts: action b is
# preferred to a in `wins` of the comparisons. Dimension 0 has rewards (0, log 3, log 6),
# dimension 1 (log 4, log 2, 0).
REWARDS = np.log([[1.0, 3.0, 6.0], [4.0, 2.0, 1.0]])


def comparisons():
    """(example, 1 + K) actions and mask: golden, then the reject in the row's dimension."""
    rows = []
    for k, rewards in enumerate(np.exp(REWARDS).round().astype(int)):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            for golden, reject, count in ((a, b, rewards[a]), (b, a, rewards[b])):
                # The wins of a over b are as r_a : r_b; the number of comparisons is free.
                rows += [(golden, *((reject, -1) if k == 0 else (-1, reject)))] * count
    actions = np.array(rows)
    return jnp.asarray(np.maximum(actions, 0)), jnp.asarray(actions >= 0)


def test_two_stages_reach_the_tilted_policy():
    """pi_2 is proportional to pi_ref exp((r_0 + lambda r_1) / beta): the method's own claim.

    It holds only if stage 2 is compared with the policy of stage 1, and beta_2 = beta / lambda.
    """
    beta, multiplier = 0.5, 2.0
    initial = np.log([0.2, 0.5, 0.3])
    actions, mask = comparisons()
    policies = []
    for stage in sacpo.plan([[0], [1]], 2, beta=beta, multipliers=[multiplier]):
        base = initial if stage.reference is None else policies[stage.reference]

        def loss(logits, stage=stage, base=base):
            scores = (jax.nn.log_softmax(logits) - jnp.asarray(base))[actions]
            normalizer = stage.method.normalizer(mask, mask)
            return stage.method.loss(scores, mask, normalizer, stage.method.init(2))[0]

        with jax.enable_x64(True):
            value = jax.jit(jax.value_and_grad(loss))
            found = scipy.optimize.minimize(
                lambda x, value=value: tuple(map(np.asarray, value(jnp.asarray(x)))),
                base,
                jac=True,
                method="BFGS",
                options={"gtol": 1e-7},
            )
            policies.append(np.asarray(jax.nn.log_softmax(found.x)))
    tilted = initial + (REWARDS[0] + multiplier * REWARDS[1]) / beta
    expected = tilted - np.log(np.exp(tilted).sum())
    np.testing.assert_allclose(policies[1], expected, atol=1e-3)
    first = initial + REWARDS[0] / beta
    np.testing.assert_allclose(policies[0], first - np.log(np.exp(first).sum()), atol=1e-3)


@pytest.mark.parametrize(
    ("groups", "multipliers", "message"),
    [
        ([], (1.0,), "groups: expected non-empty groups"),
        ([[0], []], (1.0,), "groups: expected non-empty groups"),
        ([[0], [0, 1]], (1.0,), "without repetition"),
        ([[0], [4]], (1.0,), "groups: expected numbers from 0 to 3"),
        ([[0], [1], [2]], (1.0, 1.0, 1.0), "multipliers: expected 1 or 2 positive numbers"),
        ([[0], [1]], (0.0,), "multipliers: expected 1 or 1 positive numbers"),
    ],
)
def test_refused_by_name(groups, multipliers, message):
    with pytest.raises(ValueError, match=message):
        sacpo.plan(groups, 4, multipliers=multipliers)


def test_a_wrong_beta_is_refused():
    with pytest.raises(ValueError, match="beta must be positive"):
        sacpo.plan([[0]], 4, beta=0.0)
