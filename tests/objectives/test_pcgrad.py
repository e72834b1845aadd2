"""PCGrad against a NumPy brute force over flat gradients, with the orders fixed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import PCGradDPO, ScoredBatch, pcgrad

BATCH = ScoredBatch(jnp.zeros((1, 5)), jnp.ones((1, 5), bool), jnp.ones((1, 5), jnp.int32))

PROJECT = jax.jit(pcgrad.project, static_argnames="reduce")
COEFFICIENTS = jax.jit(
    lambda gradients, orders: pcgrad.coefficients(pcgrad.gram(gradients), orders)
)


def trees(flat):
    """(K, 17) to K trees."""
    return [
        {"kernel": jnp.asarray(row[:12].reshape(3, 4)), "bias": jnp.asarray(row[12:])}
        for row in np.asarray(flat, np.float32)
    ]


def flat(tree):
    return np.concatenate([np.ravel(tree["kernel"]), tree["bias"]])


def brute_force(gradients, orders):
    """g'_k, vectors in float64, exactly as the algorithm is written."""
    projected = []
    for k, order in enumerate(orders):
        g = gradients[k].astype(np.float64).copy()
        for j in order:
            other = gradients[j].astype(np.float64)
            if j != k and g @ other < 0 and other @ other > 0:
                g -= (g @ other) / (other @ other) * other
        projected.append(g)
    return np.stack(projected)


def conflicting(seed, count=4):
    """Random gradients, every other one turned against the rest."""
    rng = np.random.default_rng(seed)
    signs = np.resize([1.0, -1.0], count)
    return rng.normal(size=(count, 17)) + 0.5 * signs[:, None]


@pytest.mark.parametrize("seed", range(5))
def test_projection_is_the_brute_force(seed):
    gradients = conflicting(seed)
    gradients[1] *= 30.0  # scales differ
    orders = np.array([np.random.default_rng([seed, k]).permutation(4) for k in range(4)])
    rows = COEFFICIENTS(trees(gradients), orders)
    expected = brute_force(gradients, orders)
    assert np.abs(expected - gradients).max() > 0.1  # something was projected
    np.testing.assert_allclose(np.asarray(rows) @ gradients, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_project_uses_one_of_the_orders(reduce):
    """The key chooses the orders; whatever it chose must be among all of the brute force's."""
    gradients = conflicting(1, count=3)
    found = flat(PROJECT(trees(gradients), jax.random.key(0), reduce))
    orders = itertools.product([(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)])
    possible = [getattr(brute_force(gradients, order), reduce)(axis=0) for order in orders]
    assert min(np.abs(found - other).max() for other in possible) < 1e-5


def test_keys_choose_among_the_orders():
    gradients = trees(conflicting(1, count=3))
    found = {flat(PROJECT(gradients, jax.random.key(s))).tobytes() for s in range(8)}
    assert len(found) > 1


def test_gradients_that_agree_are_left_alone():
    gradients = np.abs(np.random.default_rng(0).normal(size=(4, 17))).astype(np.float32)
    found = PROJECT(trees(gradients), jax.random.key(0))
    np.testing.assert_allclose(flat(found), gradients.mean(axis=0), rtol=1e-6)


def test_two_opposed_gradients_by_hand():
    """g_1 = (1, 0, ..), g_2 = (-1, 1, 0, ..): g'_1 = (1/2, 1/2), g'_2 = (0, 1)."""
    gradients = np.zeros((2, 17))
    gradients[0, 0], gradients[1, :2] = 1.0, (-1.0, 1.0)
    found = flat(PROJECT(trees(gradients), jax.random.key(3), "sum"))
    np.testing.assert_allclose(found[:2], [0.5, 1.5], rtol=1e-6)


def test_a_gradient_does_not_meet_itself():
    """Projected on two planes in turn, g_1 comes to point against itself: (-0.092, -0.158)."""
    gradients = np.zeros((3, 17))
    gradients[:, :2] = [(1.0, 0.0), (-1.0, -1.0), (-np.sqrt(3) / 2, 0.5)]
    orders = np.array([[1, 2, 0], [0, 1, 2], [0, 1, 2]])
    projected = np.asarray(COEFFICIENTS(trees(gradients), orders)) @ gradients
    length = (np.sqrt(3) - 1) / 4  # of (1/2, -1/2) along (-1/2, -sqrt(3)/2)
    expected = length * np.array([-0.5, -np.sqrt(3) / 2])
    np.testing.assert_allclose(projected[0, :2], expected, rtol=1e-5)


def test_an_absent_dimension_is_skipped():
    gradients = conflicting(2)
    gradients[2] = 0.0
    found = flat(PROJECT(trees(gradients), jax.random.key(0)))
    # Whatever the orders, the zero gradient neither projects nor adds anything.
    others = gradients[[0, 1, 3]]
    orders = itertools.product([(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)])
    possible = [brute_force(others, order).sum(axis=0) / 4 for order in orders]
    assert min(np.abs(found - other).max() for other in possible) < 1e-5


def test_the_dtype_of_the_gradients_is_kept():
    gradients = [
        jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), g) for g in trees(conflicting(0))
    ]
    found = PROJECT(gradients, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}


def test_the_method_draws_new_orders_every_step():
    method, gradients = PCGradDPO(), trees(conflicting(1, count=3))
    combine = jax.jit(method.combine)
    state, found = method.init(4), []
    for _ in range(8):
        found.append(flat(combine(gradients, state)).tobytes())
        state = method.update(state, jnp.zeros(4), jnp.ones(4, bool), BATCH)
    assert len(set(found)) > 1
    again = flat(combine(gradients, method.init(4))).tobytes()
    assert again == found[0]


def test_a_negative_seed_and_an_unknown_reduction_are_refused():
    with pytest.raises(ValueError, match=r"method\.seed must be at least 0, found -1"):
        PCGradDPO(seed=-1)
    with pytest.raises(ValueError, match=r"reduce: expected 'mean' or 'sum', found 'max'"):
        pcgrad.project(trees(conflicting(0)), jax.random.key(0), "max")
