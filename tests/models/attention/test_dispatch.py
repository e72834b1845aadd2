"""Attention over token trees against a brute-force softmax, values and gradients.

The reference visits every query of every head, in float64, and takes the softmax over the keys
that the definition of the packed layout lets it see. Tolerances are absolute: 2e-6 for values
and 1e-5 for gradients, of arrays with entries around 1.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import BatchStream
from dignified_jax.models import logprobs
from dignified_jax.models.attention import blocks as block_module
from dignified_jax.models.attention import dispatch
from dignified_jax.models.attention.dispatch import (
    dense_attention,
    segment_attention,
    tree_attention,
)
from dignified_jax.models.attention.token_tree import causal_tree, visibility
from tests.models.attention.brute_force import (
    COMPUTATIONS,
    blocks,
    brute_force,
    brute_force_gradients,
    check,
    flash,
    keys_seen,
    packed_tree,
    random_inputs,
    slow,
)
from tests.oracles import sequences

HEADS = [(4, 4), (6, 1)]  # query heads, key heads; other tests have (4, 2)


def test_the_reference_gradients_are_those_of_the_reference():
    """Central differences of the brute-force output, 1e-7, so that both can be trusted."""
    tree, batch = packed_tree(3, row_length=48, examples=2)
    seen = keys_seen(batch)
    *inputs, cotangent = random_inputs(tree, 2, 1)
    gradients = brute_force_gradients(*inputs, seen, cotangent)
    rng = np.random.default_rng(7)
    directions = [rng.normal(size=x.shape) for x in inputs]
    step = 1e-5
    ends = [
        np.sum(
            cotangent
            * brute_force(*(x + s * d for x, d in zip(inputs, directions, strict=True)), seen)
        )
        for s in (step, -step)
    ]
    slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


@pytest.mark.parametrize(("seed", "heads"), list(enumerate(HEADS)))
@pytest.mark.parametrize("attend", COMPUTATIONS)
def test_packed_rows_equal_brute_force(attend, seed, heads):
    tree, batch = packed_tree(seed)
    seen = keys_seen(batch)
    used = (tree.segments[..., 3] > 0).sum(axis=1)
    assert len(set(used)) > 1 and used[-1] == 0  # unused segments, and a row with none at all
    assert not seen[:-1].any(axis=-1).all()  # pad tokens beside examples
    check(attend, tree, batch, heads)


@pytest.mark.parametrize("scores", [1, 2000, slow(20_000), 2**40])
def test_chunks_of_segments_do_not_matter(scores, monkeypatch):
    """From one segment at a time to all at once, and numbers that do not divide them."""
    monkeypatch.setattr(dispatch, "SCORES_AT_ONCE", scores)
    tree, batch = packed_tree(1)
    check(segment_attention, tree, batch)


@pytest.mark.parametrize("block", [1, slow(16), 24, slow(63), slow(64), 100])
def test_blocks_of_queries_do_not_matter(block, monkeypatch):
    """Blocks that divide the row, or not, or hold it all."""
    monkeypatch.setattr(dispatch, "QUERY_BLOCK", block)
    tree, batch = packed_tree(0)
    check(dense_attention, tree, batch)


@pytest.mark.parametrize(
    ("block", "heads"), [(8, (4, 4)), slow(24, (4, 2)), (63, (6, 1)), (64, (4, 2))]
)
def test_blocks_of_pairs_do_not_matter(block, heads, monkeypatch):
    """A prompt or response over several blocks, several in one, and blocks that are not needed."""
    monkeypatch.setattr(block_module, "BLOCK", block)
    tree, batch = packed_tree(1)
    check(blocks, tree, batch, heads)


def test_blocks_without_a_visible_pair_are_not_visited(monkeypatch):
    """The list of pairs is exactly that of the blocks in which some query sees some key."""
    monkeypatch.setattr(block_module, "BLOCK", 8)
    tree, _ = packed_tree(0)
    mask = np.asarray(visibility(tree, 0, 64))
    expected = mask.reshape(-1, 8, 8, 8, 8).any(axis=(2, 4))
    pairs = jax.jit(block_module._needed_pairs)(tree.visible_until.reshape(-1, 8, 8))
    places = np.transpose([pairs.rows, pairs.queries, pairs.keys])[: pairs.count]
    assert len(np.unique(places, axis=0)) == len(places)
    visited = np.zeros_like(expected)
    visited[tuple(places.T)] = True
    np.testing.assert_array_equal(visited, expected)
    causal = np.tril(np.ones((8, 8), bool))
    assert visited.sum() < 0.8 * len(visited) * causal.sum()


@pytest.mark.parametrize("attend", [segment_attention, tree_attention, flash])
def test_larger_blocks_than_needed_change_nothing(attend):
    """`prompt_block` and `segment_block` are upper bounds, also beyond the row."""
    tree, batch = packed_tree(1)
    wide = dataclasses.replace(tree, prompt_block=24, segment_block=72)
    check(attend, wide, batch)


def test_a_prompt_longer_than_every_response_and_the_reverse():
    for prompt, response in [(40, 3), (2, 20)]:
        examples = sequences.random_examples(4, 5, prompt=prompt, response=response)
        batch = BatchStream(examples, batch_size=4, row_length=96, shuffle=False).batch(0)
        attend = segment_attention if prompt > response else flash
        check(attend, logprobs.token_tree(batch), batch, heads=(2, 1))


def test_visible_until_says_what_the_segments_say():
    """Both descriptions of the mask agree on every token that is used."""
    for seed in range(3):
        tree, batch = packed_tree(seed)
        seen = keys_seen(batch)
        used = seen.any(axis=-1)
        mask = np.asarray(visibility(tree, 0, 64))
        np.testing.assert_array_equal(mask[used], seen[used])


@pytest.mark.parametrize("attend", COMPUTATIONS)
def test_empty_rows_and_pad_tokens_give_neither_nan_nor_gradient(attend):
    """Even with huge garbage in the pad tokens, and whatever the cotangent on them."""
    tree, batch = packed_tree(0)
    used = keys_seen(batch).any(axis=-1)
    real = used[..., None, None]
    *inputs, cotangent = (jnp.asarray(x, jnp.float32) for x in random_inputs(tree, 4, 2))

    @jax.jit
    def run(inputs, cotangent):
        output, pull = jax.vjp(lambda *x: attend(*x, tree), *inputs)
        return output, pull(cotangent)

    clean, gradients = run(inputs, jnp.ones_like(cotangent))
    assert all(np.isfinite(x).all() for x in (clean, *gradients))
    dirty = [jnp.where(real, x, 1e18) for x in inputs]
    output, gradients = run(dirty, jnp.where(real, cotangent, 0.0))
    np.testing.assert_array_equal(output[used], clean[used])
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~used], 0)


def test_a_response_does_not_see_another():
    """Changing one response's keys and values changes no other token's output."""
    tree, batch = packed_tree(0)
    query, key, value, _ = (jnp.asarray(x, jnp.float32) for x in random_inputs(tree, 4, 2))
    laid = [segment for segment in batch.segments[0] if segment[1]]
    _, _, start, size = laid[1]
    inside = np.zeros(batch.tokens.shape, bool)
    inside[0, start : start + size] = True
    noise = jnp.where(inside[..., None, None], 1.0, 0.0)
    for attend in COMPUTATIONS:
        run = jax.jit(lambda key, value, attend=attend: attend(query, key, value, tree))
        before, after = run(key, value), run(key + noise, value - noise)
        changed = np.asarray(before != after).any(axis=(-1, -2))
        np.testing.assert_array_equal(changed, inside)


@pytest.mark.parametrize("attend", [*COMPUTATIONS, tree_attention])
def test_causal_tree_is_plain_causal_attention(attend):
    tree = causal_tree(2, 20)
    *inputs, _ = random_inputs(tree, 4, 2)
    seen = np.broadcast_to(np.tril(np.ones((20, 20), bool)), (2, 20, 20))
    output = jax.jit(attend)(*(jnp.asarray(x, jnp.float32) for x in inputs), tree)
    np.testing.assert_allclose(output, brute_force(*inputs, seen), atol=2e-6)


@pytest.mark.parametrize("attend", COMPUTATIONS)
def test_bfloat16_inputs_have_a_float32_softmax(attend):
    """Within bfloat16's rounding of float64 on the rounded inputs: 2e-2 absolute."""
    tree, batch = packed_tree(0)
    *inputs, _ = random_inputs(tree, 4, 2)
    inputs = [jnp.asarray(x, jnp.bfloat16) for x in inputs]
    output = jax.jit(attend)(*inputs, tree)
    assert output.dtype == jnp.bfloat16
    seen = keys_seen(batch)
    expected = brute_force(*(np.asarray(x, np.float64) for x in inputs), seen)
    used = seen.any(axis=-1)
    np.testing.assert_allclose(np.asarray(output, np.float64)[used], expected[used], atol=2e-2)
