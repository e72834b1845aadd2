"""SACPO: the plan, and a tabular policy that it aligns in two stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from dignified_jax.objectives import SACPO, ScoredBatch


def test_stages_by_hand():
    method = SACPO(beta=0.2, groups=("A", "C", "TE"), multipliers=(2.0, 0.5))
    stages = method.stages("ATEC")
    assert [stage.name for stage in stages] == ["1_A", "2_C", "3_TE"]
    assert [stage.start for stage in stages] == [None, 0, 1]
    assert [stage.objective.beta for stage in stages] == [0.2, 0.1, 0.4]
    assert [stage.objective.weights for stage in stages] == [
        (1.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 1.0, 1.0, 0.0),
    ]


def test_one_multiplier_for_all_later_stages():
    stages = SACPO(groups=tuple("ATEC"), multipliers=(4.0,)).stages("ATEC")
    assert [stage.objective.beta for stage in stages] == [0.1, 0.025, 0.025, 0.025]
    (only,) = SACPO(groups=("ATEC",)).stages("ATEC")
    assert (only.start, only.objective.beta) == (None, 0.1)


def test_shares_by_hand():
    three = ("A", "T", "EC")
    assert SACPO(groups=three).shares("ATEC") == (0.0, 0.0, 1.0)
    assert SACPO(groups=three, last_share=0.25).shares("ATEC") == (0.0, 0.75, 0.25)


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
    for stage in SACPO(beta=beta, groups=("A", "B"), multipliers=(multiplier,)).stages("AB"):
        base = initial if stage.start is None else policies[stage.start]

        def loss(logits, stage=stage, base=base):
            scores = (jax.nn.log_softmax(logits) - jnp.asarray(base))[actions]
            objective, batch = stage.objective, ScoredBatch(scores, mask, mask.astype(jnp.int32))
            counts = objective.batch_counts(batch.mask, batch.lengths)
            return objective.loss(batch, counts, objective.init(2))[0]

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
        ((), (1.0,), "method.groups: expected non-empty groups"),
        (("A", ""), (1.0,), "method.groups: expected non-empty groups"),
        (("A", "AT"), (1.0,), "without repetition"),
        (("A", "T", "E"), (1.0,) * 3, "method.multipliers: expected 1 or 2 positive numbers"),
        (("A", "T"), (0.0,), "method.multipliers must be positive, found 0.0"),
    ],
)
def test_refused_by_name(groups, multipliers, message):
    with pytest.raises(ValueError, match=message):
        SACPO(groups=groups, multipliers=multipliers).check("ATEC")


def test_unknown_dimension_is_refused():
    with pytest.raises(ValueError, match=r"expected letters of ATEC, found \['X'\]"):
        SACPO(groups=("A", "X")).check("ATEC")


def test_a_wrong_beta_is_refused():
    with pytest.raises(ValueError, match="beta must be positive"):
        SACPO(beta=0.0)
