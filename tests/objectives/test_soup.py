"""Weighted sums of parameters against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.objectives import soup


def policies(dtype=jnp.float32, count=3):
    rng = np.random.default_rng(0)
    return [
        {
            "layer": {"kernel": jnp.asarray(rng.normal(size=(2, 3)), dtype)},
            "scale": jnp.asarray(rng.normal(size=4), jnp.float32),
        }
        for _ in range(count)
    ]


def test_sum_by_numpy():
    trees, weights = policies(), (0.2, 0.5, 0.3)
    mixed = soup.combine(trees, weights)
    for path in (lambda t: t["layer"]["kernel"], lambda t: t["scale"]):
        expected = sum(
            c * np.asarray(path(t), np.float64) for c, t in zip(weights, trees, strict=True)
        )
        np.testing.assert_allclose(path(mixed), expected, rtol=1e-6, atol=1e-7)


def test_bfloat16_is_summed_in_float32_and_kept():
    """0.97 x 256 + 3 x 0.01 x 60 = 250.12; summed in bfloat16 it would be 251."""
    trees = [{"w": jnp.full(2, value, jnp.bfloat16)} for value in (256.0, 60.0, 60.0, 60.0)]
    mixed = soup.combine(trees, (0.97, 0.01, 0.01, 0.01))
    assert mixed["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(mixed["w"], np.float32), [250.0, 250.0])


def test_a_weight_of_one_is_that_policy_exactly():
    trees = policies()
    mixed = soup.combine(trees, (0.0, 1.0, 0.0))
    np.testing.assert_array_equal(mixed["scale"], trees[1]["scale"])


@pytest.mark.parametrize(
    "coefficients", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.5, -0.5, 0.0), (float("nan"), 0.5, 0.5)]
)
def test_coefficients_are_convex_and_one_for_each(coefficients):
    with pytest.raises(ValueError, match="coefficients: expected 3 numbers of at least 0"):
        soup.combine(policies(), coefficients)


def test_trees_that_differ_are_refused_by_path():
    halves = (0.5, 0.5)
    first, second = policies(count=2)
    with pytest.raises(ValueError, match=r"trees\[1\]\['scale'\]: expected .* found nothing"):
        soup.combine([first, {"layer": second["layer"]}], halves)
    with pytest.raises(ValueError, match=r"trees\[1\]\['extra'\]: expected nothing"):
        soup.combine([first, second | {"extra": second["scale"]}], halves)
    with pytest.raises(ValueError, match=r"trees\[1\]\['scale'\]: .*found \(\(3,\), 'float32'\)"):
        soup.combine([first, second | {"scale": second["scale"][:3]}], halves)
    with pytest.raises(ValueError, match=r"trees\[1\]\['layer'\]\['kernel'\]: .*bfloat16"):
        soup.combine([first, policies(jnp.bfloat16)[0]], halves)
    whole = {"step": jnp.zeros((), jnp.int32)}
    with pytest.raises(ValueError, match=r"trees\[0\]\['step'\]: expected a floating dtype"):
        soup.combine([whole, whole], halves)
