"""Preference metrics against hand numbers and a plain loop over pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import DIMENSIONS
from dignified_jax.objectives import SFT, LagDPO, MultiNegativeDPO
from dignified_jax.training.step import metrics

NAMES = ("chosen", "rejected", "margins", "accuracies")


def preference(*arrays_and_objective):
    *arrays, objective = arrays_and_objective
    return metrics.preference(*map(jnp.asarray, arrays), objective)


def test_two_examples_by_hand():
    """Golden, A, T, E, C; the second example has T alone, and no example has C."""
    policy = np.array([[-10.0, -14.0, -9.0, -12.0, 0.0], [-20.0, 0.0, -26.0, 0.0, 0.0]])
    reference = np.array([[-11.0, -13.0, -11.0, -13.0, 0.0], [-19.0, 0.0, -21.0, 0.0, 0.0]])
    mask = np.array([[1, 1, 1, 1, 0], [1, 0, 1, 0, 0]], bool)
    report = preference(policy, reference, mask, LagDPO(beta=0.5))
    # Rewards: golden 0.5 and -0.5; A -0.5; T 1.0 and -2.5; E 0.5, a tie.
    expected = {
        "pairs": 4.0,
        "per_dimension/pairs": [1, 2, 1, 0],
        "rewards/chosen": (0.5 + 0.5 - 0.5 + 0.5) / 4,
        "rewards/rejected": (-0.5 + 1.0 - 2.5 + 0.5) / 4,
        "rewards/margins": (1.0 - 0.5 + 2.0 + 0.0) / 4,
        "rewards/accuracies": (1 + 0 + 1 + 0.5) / 4,
        "per_dimension/rewards/chosen": [0.5, 0.0, 0.5, 0],
        "per_dimension/rewards/rejected": [-0.5, -0.75, 0.5, 0],
        "per_dimension/rewards/margins": [1.0, 0.75, 0.0, 0],
        "per_dimension/rewards/accuracies": [1.0, 0.5, 0.5, 0],
        "logps/chosen": (-10 - 10 - 20 - 10) / 4,
        "logps/rejected": (-14 - 9 - 26 - 12) / 4,
        "per_dimension/logps/chosen": [-10, -15, -10, 0],
        "per_dimension/logps/rejected": [-14, -17.5, -12, 0],
    }
    assert report.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(report[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_random_batches_against_a_loop_over_pairs(seed):
    """1e-5 relative. Entries outside the mask are NaN: they may enter nothing."""
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 5)) < 0.6
    policy, reference = (
        np.where(mask, rng.normal(-20, 5, (12, 5)), np.nan).astype(np.float32) for _ in range(2)
    )
    method = MultiNegativeDPO(beta=0.3)
    found = {k: [] for k in range(4)}
    for i, k in np.ndindex(12, 4):
        if mask[i, 0] and mask[i, 1 + k]:
            chosen = 0.3 * (policy[i, 0] - reference[i, 0])
            rejected = 0.3 * (policy[i, 1 + k] - reference[i, 1 + k])
            found[k].append((chosen, rejected, chosen - rejected, chosen > rejected))
    everything = [pair for pairs in found.values() for pair in pairs]
    report = jax.jit(lambda *a: preference(*a, method))(policy, reference, mask)
    assert report["pairs"] == len(everything)
    for column, name in enumerate(NAMES):
        want = np.mean([pair[column] for pair in everything])
        np.testing.assert_allclose(report[f"rewards/{name}"], want, rtol=1e-5)
        for k in range(4):
            want = np.mean([pair[column] for pair in found[k]])
            got = report[f"per_dimension/rewards/{name}"][k]
            np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=f"{name} {k}")


def test_methods_without_a_reference_have_no_rewards():
    mask = np.ones((2, 5), bool)
    report = preference(np.ones((2, 5)), np.zeros((2, 5)), mask, SFT())
    assert not [name for name in report if "rewards" in name]
    assert report["logps/chosen"] == 1.0


def test_a_batch_without_pairs_is_finite():
    mask = np.zeros((2, 5), bool)
    mask[:, 0] = True
    report = preference(np.ones((2, 5)), np.zeros((2, 5)), mask, LagDPO())
    assert all(np.isfinite(value).all() for value in report.values())
    assert report["pairs"] == 0


REPORT = {
    "loss": np.float32(0.5),
    "finite": np.bool_(True),
    "pairs": np.float32(3),
    "per_dimension/pairs": np.array([2.0, 0.0, 1.0, 0.0]),
    "per_dimension/loss": np.array([0.1, 0.2, 0.3, 0.4]),
    "per_dimension/rewards/margins": np.array([1.0, 2.0, 3.0, 4.0]),
    "per_dimension/lambda": np.array([5.0, 6.0, 7.0, 8.0]),
}


def test_flatten_leaves_absent_dimensions_out():
    """Except for what does not come from pairs: lambda, and the number of pairs itself."""
    assert metrics.flatten(REPORT, DIMENSIONS) == {
        "loss": 0.5,
        "finite": True,
        "pairs": 3.0,
        **{"pairs/A": 2.0, "pairs/T": 0.0, "pairs/E": 1.0, "pairs/C": 0.0},
        **{"loss/A": 0.1, "loss/E": 0.3},
        **{"rewards/margins/A": 1.0, "rewards/margins/E": 3.0},
        **{"lambda/A": 5.0, "lambda/T": 6.0, "lambda/E": 7.0, "lambda/C": 8.0},
    }


def test_flatten_gives_plain_numbers_under_a_prefix():
    flat = metrics.flatten(REPORT, DIMENSIONS, "eval/")
    assert all(name.startswith("eval/") for name in flat)
    assert flat["eval/loss/A"] == 0.1 and flat["eval/lambda/C"] == 8.0
    assert {type(value) for value in flat.values()} <= {float, bool}


def test_flatten_without_pairs_keeps_every_dimension():
    report = {"per_dimension/loss": np.arange(4.0)}
    expected = {"loss/A": 0.0, "loss/T": 1.0, "loss/E": 2.0, "loss/C": 3.0}
    assert metrics.flatten(report, DIMENSIONS) == expected
