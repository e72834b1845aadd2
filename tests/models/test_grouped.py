"""Rows laid out by group, and their products, against loops over rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.models.grouped import Groups, block_count, block_size, grouped_product

COUNT = 4


def layout(group, block):
    return Groups.of(jnp.asarray(group, jnp.int32), COUNT, block)


@pytest.mark.parametrize("block", [1, 2, 5, 64])
@pytest.mark.parametrize("seed", range(3))
def test_every_choice_has_a_place_in_a_block_of_its_group(block, seed):
    """Groups of any sizes, empty ones among them; those of none (4) have no place."""
    rng = np.random.default_rng(seed)
    group = rng.choice(5, 30, p=rng.dirichlet(np.full(5, 0.3)))
    groups = layout(group, block)
    places = groups.choice.size
    assert places == block_count(30, COUNT, block) * block
    for choice, (place, its) in enumerate(zip(np.asarray(groups.place), group, strict=True)):
        assert (place == places) == (its == COUNT)
        if its < COUNT:
            assert groups.choice[place] == choice and groups.of_block[place // block] == its
    assert (np.asarray(groups.choice) < 30).sum() == (group < COUNT).sum()
    held = np.bincount(group, minlength=5)[:COUNT]
    np.testing.assert_array_equal(groups.sizes, -(-held // block) * block)
    assert (np.diff(groups.of_block) >= 0).all()


def test_the_most_blocks_can_be_needed():
    """One row in each of three groups, the rest in the fourth: no block is left."""
    group = [0, 1, 2] + [3] * 6
    groups = layout(group, 5)
    assert block_count(9, COUNT, 5) == 5 == int(groups.sizes.sum()) // 5


@pytest.mark.parametrize("block", [1, 2, 5])
def test_products_and_gradients_are_those_of_a_loop(block):
    """1e-6 of the largest; bfloat16's gradient of a matrix is summed over blocks in float32."""
    rng = np.random.default_rng(0)
    groups = layout(rng.integers(0, 5, 30), block)
    there = np.asarray(groups.choice) < 30
    rows = rng.normal(size=(there.size, 6)).astype(np.float32) * there[:, None]
    kernels = rng.normal(size=(COUNT, 6, 7)).astype(np.float32)
    cotangent = rng.normal(size=(there.size, 7)).astype(np.float32) * there[:, None]
    product = jax.jit(lambda rows, kernels: grouped_product(rows, kernels, groups))
    got, pull = jax.vjp(product, rows, kernels)
    d_rows, d_kernels = pull(cotangent)
    want, want_rows, want_kernels = np.zeros(got.shape), np.zeros(rows.shape), np.zeros((4, 6, 7))
    for place in np.flatnonzero(there):
        its = int(groups.of_block[place // block])
        want[place] = rows[place] @ kernels[its]
        want_rows[place] = kernels[its] @ cotangent[place]
        want_kernels[its] += np.outer(rows[place], cotangent[place])
    for found, right in ((got, want), (d_rows, want_rows), (d_kernels, want_kernels)):
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-6 * np.abs(right).max())


@pytest.mark.parametrize(
    ("backend", "choices", "count", "block"),
    [
        ("gpu", 32768, 128, 128),  # 4,096 tokens of Qwen3-30B-A3B
        ("gpu", 4096, 128, 16),
        ("cpu", 100, 6, 8),
        ("tpu", 32768, 128, 1),
    ],
)
def test_blocks_are_half_of_an_even_load_within_bounds(backend, choices, count, block, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert block_size(choices, count) == block
    assert block_count(choices, count, block) * block <= 1.5 * choices + count * 8
