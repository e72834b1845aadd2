"""Margins and losses against hand numbers and the written-out formula."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import dpo

# Two examples; the second has no T and no C reject.
RATIOS = jnp.array([[2.0, 1.0, -1.0, 4.0, 2.0], [-3.0, -5.0, 99.0, -3.0, 99.0]])
MASK = jnp.array([[True] * 5, [True, True, False, True, False]])


def softplus(x):
    return math.log1p(math.exp(x))


def test_margins_by_hand():
    expected = [[0.5, 1.5, -1.0, 0.0], [1.0, -51.0, 0.0, -51.0]]
    np.testing.assert_allclose(dpo.margins(RATIOS, 0.5), expected, rtol=1e-7)


def test_dimension_losses_by_hand():
    counts = dpo.pair_counts(MASK)
    np.testing.assert_array_equal(counts, [2, 1, 2, 1])
    losses = dpo.dimension_losses(RATIOS, MASK, counts, 0.5)
    expected = [
        (softplus(-0.5) + softplus(-1.0)) / 2,
        softplus(-1.5),
        (softplus(1.0) + softplus(0.0)) / 2,
        math.log(2),
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_an_absent_golden_makes_no_pair():
    mask = jnp.array([[False, True, True, True, True]])
    assert not dpo.pair_mask(mask).any()
    losses = dpo.dimension_losses(RATIOS[:1], mask, dpo.pair_counts(mask), 0.5)
    np.testing.assert_array_equal(losses, np.zeros(4))


def test_gradient_is_the_written_out_formula():
    """d loss_ik / d s_golden = -beta sigmoid(-m), d / d s_k = +beta sigmoid(-m)."""
    beta = 0.3
    counts = dpo.pair_counts(MASK)
    weights = np.array([1.0, 2.0, 0.5, 3.0])

    def total(ratios):
        return jnp.sum(weights * dpo.dimension_losses(ratios, MASK, counts, beta))

    gradient = jax.grad(total)(RATIOS)
    pairs = np.asarray(dpo.pair_mask(MASK))
    margins = np.where(pairs, beta * (np.asarray(RATIOS)[:, :1] - np.asarray(RATIOS)[:, 1:]), 0)
    slope = pairs * weights / np.asarray(counts) * beta / (1 + np.exp(margins))
    expected = np.concatenate([-slope.sum(1, keepdims=True), slope], axis=1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_masked_entries_reach_neither_value_nor_gradient(bad):
    ratios = RATIOS.at[1, 2].set(bad)
    counts = dpo.pair_counts(MASK)

    def total(r):
        return dpo.dimension_losses(r, MASK, counts, 0.5).sum()

    assert total(ratios) == total(RATIOS)
    gradient = jax.grad(total)(ratios)
    np.testing.assert_array_equal(gradient, jax.grad(total)(RATIOS))
    assert gradient[1, 2] == 0


def test_extreme_margins_stay_finite_and_linear():
    ratios = jnp.array([[-1e6, 1e6, 0.0, 0.0, 0.0], [1e6, -1e6, 0.0, 0.0, 0.0]])
    losses = dpo.pair_losses(ratios, jnp.ones((2, 5), bool), 0.1)
    np.testing.assert_allclose(losses[:, 0], [2e5, 0.0], rtol=1e-6)


def test_parts_of_a_batch_add_up():
    rng = np.random.default_rng(0)
    ratios = jnp.asarray(rng.normal(size=(12, 5)), jnp.float32)
    mask = jnp.asarray(rng.random((12, 5)) < 0.7).at[:, 0].set(True)
    counts = dpo.pair_counts(mask)
    whole = dpo.dimension_losses(ratios, mask, counts, 0.1)
    held = jnp.arange(12)[:, None] < 5
    parts = [
        dpo.dimension_losses(jnp.where(part, ratios, 0), mask & part, counts, 0.1)
        for part in (held, ~held)
    ]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)


def test_annotations_of_arrays_are_checked_while_tests_run():
    with pytest.raises(TypeError, match="response_mask"):
        dpo.pair_mask(jnp.ones((3, 5), jnp.float32))  # not bool
    with pytest.raises(TypeError, match="mask"):
        dpo.margin_losses(jnp.ones((3, 4)), jnp.ones((3, 5), bool))  # not the same axis
