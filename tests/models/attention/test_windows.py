"""Sliding windows over packed rows, against brute force: in all layers, or in some of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.models.attention import blocks as block_module
from dignified_jax.models.attention import dispatch
from dignified_jax.models.attention.dispatch import (
    dense_attention,
    tree_attention,
)
from dignified_jax.models.attention.token_tree import TokenTree
from tests.models.attention.brute_force import (
    COMPUTATIONS,
    check,
    flash,
    keys_seen,
    packed_tree,
    slow,
)


@pytest.mark.parametrize("window", [slow(1), 5, slow(16)])
@pytest.mark.parametrize("attend", COMPUTATIONS)
def test_a_window_reaches_from_a_response_back_into_its_prompt(attend, window, monkeypatch):
    monkeypatch.setattr(block_module, "BLOCK", 24)
    monkeypatch.setattr(dispatch, "QUERY_BLOCK", 24)
    tree, batch = packed_tree(1)
    assert (keys_seen(batch, window) != keys_seen(batch)).any()
    tree = dataclasses.replace(tree, window=window, positions=jnp.asarray(batch.positions))
    check(attend, tree, batch)


@pytest.mark.parametrize("slides", [True, False])
@pytest.mark.parametrize("attend", COMPUTATIONS[:3])
def test_a_window_that_only_some_layers_have(attend, slides, monkeypatch):
    """The flag is a number of the program, as in a scan over layers."""
    monkeypatch.setattr(block_module, "BLOCK", 24)
    monkeypatch.setattr(dispatch, "QUERY_BLOCK", 24)
    tree, batch = packed_tree(1)
    placed = dataclasses.replace(tree, window=5, positions=jnp.asarray(batch.positions))

    def of_layer(query, key, value, tree):
        # As an argument of the program it can't be folded; adding 0 x keeps `check`'s signature.
        flag = (query[0, 0, 0, 0] * 0 == 0) == slides
        return attend(query, key, value, dataclasses.replace(placed, slides=flag))

    check(of_layer, placed if slides else tree, batch)


@pytest.mark.parametrize(
    ("name", "slides"),
    [
        *(("auto", True), ("auto", False), ("cudnn", True), ("splash", False)),
        *(slow("cudnn", False), slow("splash", True)),
    ],
)
def test_kernels_are_compiled_with_the_window_and_without(name, slides, monkeypatch):
    """Splash takes the layers without one; XLA stands in for the kernels."""
    seen = []

    def kernel(query, key, value, tree):
        seen.append(("cudnn", tree.window))
        return flash(query, key, value, tree)

    def splash(query, key, value, visible_until):
        seen.append(("splash", None))
        return dense_attention(query, key, value, TokenTree(visible_until))

    chosen = lambda _, tree: "cudnn" if tree.window is None else "segments"  # noqa: E731
    monkeypatch.setattr(dispatch, "choose", chosen)
    monkeypatch.setattr(dispatch, "flash_attention", kernel)
    monkeypatch.setattr(dispatch, "splash_attention", splash)
    tree, batch = packed_tree(1)
    placed = dataclasses.replace(tree, window=5, positions=jnp.asarray(batch.positions))

    def of_layer(query, key, value, tree):
        return tree_attention(query, key, value, dataclasses.replace(placed, slides=slides), name)

    check(of_layer, placed if slides else tree, batch)
    expected = {
        "auto": {("cudnn", None)},
        "cudnn": {("cudnn", 5), ("cudnn", None)},
        "splash": {("splash", None)},
    }
    assert set(seen) == expected[name]


def test_blocks_beyond_the_window_are_not_visited(monkeypatch):
    """At most one more than hold a visible pair, for every block of queries of one sequence."""
    monkeypatch.setattr(block_module, "BLOCK", 8)
    positions = jnp.arange(64).reshape(1, 8, 8)
    until = jnp.full((1, 8, 8), 64)
    pairs = jax.jit(block_module._needed_pairs)(until, jnp.int32(9), positions)
    distance = np.asarray(pairs.queries - pairs.keys)[: pairs.count]
    assert distance.max() == 1 and pairs.count == 8 + 7
