"""Attention over token trees against a brute-force softmax, values and gradients.

The reference visits every query of every head, in float64, and takes the softmax over the keys
that the definition of the packed layout lets it see. Tolerances are absolute: 2e-6 for values
and 1e-5 for gradients, of arrays with entries around 1.
"""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import BatchStream
from dignified_jax.models import logprobs
from dignified_jax.models.attention import blocks as block_module
from dignified_jax.models.attention import dispatch
from dignified_jax.models.attention.cudnn import flash_attention
from dignified_jax.models.attention.dispatch import (
    dense_attention,
    segment_attention,
    tree_attention,
)
from dignified_jax.models.attention.token_tree import TokenTree, causal_tree, visibility
from tests.oracles import sequences


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def blocks(query, key, value, tree):
    return block_module.block_attention(query, key, value, tree)


def flash(query, key, value, tree):
    """What NVIDIA GPUs compute, with XLA in cuDNN's place."""
    return flash_attention(query, key, value, tree, implementation="xla")


COMPUTATIONS = [dense_attention, segment_attention, blocks, flash]
WIDTH = 8
HEADS = [(4, 4), (6, 1)]  # query heads, key heads; other tests have (4, 2)


def packed_tree(seed, row_length=64, examples=7, prompt=14, response=9):
    """A packed batch, with pad tokens in its rows and nothing in the last one, and its tree."""
    made = sequences.random_examples(examples, seed, prompt=prompt, response=response)
    rows = BatchStream(made, batch_size=examples, row_length=row_length).rows
    batch = BatchStream(
        made, batch_size=examples, row_length=row_length, rows_multiple=rows + 1, shuffle=False
    ).batch(0)
    return logprobs.token_tree(batch), batch


def random_inputs(tree, heads, kv_heads, seed=0):
    """Query, key, value and a cotangent of the output."""
    rows, length = tree.visible_until.shape
    rng = np.random.default_rng(seed)
    shapes = [(rows, length, h, WIDTH) for h in (heads, kv_heads, kv_heads, heads)]
    return [rng.normal(size=shape) for shape in shapes]


def keys_seen(batch, window=10**6):
    """(row, query, key) bool from the layout's meaning, not from `visible_until`.

    A token sees itself and what stands before it in its own response, and its example's prompt;
    of these the last `window`.
    """
    rows, length = batch.tokens.shape
    seen = np.zeros((rows, length, length), bool)
    for row, laid in enumerate(batch.segments):
        for prompt_start, prompt, start, size in laid:
            for n in range(size):
                before = [*range(prompt_start, prompt_start + prompt), *range(start, start + n + 1)]
                seen[row, start + n, before[-window:]] = True
    return seen


def brute_force(query, key, value, seen):
    """Float64 softmax attention, a query at a time; zero for queries that see nothing."""
    rows, length, heads, width = query.shape
    group = heads // key.shape[2]
    output = np.zeros(query.shape)
    for row, i, head in np.ndindex(rows, length, heads):
        keys = np.flatnonzero(seen[row, i])
        if len(keys):
            scores = key[row, keys, head // group] @ query[row, i, head] / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            output[row, i, head] = weights / weights.sum() @ value[row, keys, head // group]
    return output


def brute_force_gradients(query, key, value, seen, cotangent):
    """Gradients of sum(cotangent * output), written out for the softmax of every query."""
    rows, length, heads, width = query.shape
    group = heads // key.shape[2]
    grads = [np.zeros(x.shape) for x in (query, key, value)]
    for row, i, head in np.ndindex(rows, length, heads):
        keys, shared = np.flatnonzero(seen[row, i]), head // group
        if len(keys):
            k, v = key[row, keys, shared], value[row, keys, shared]
            q, g = query[row, i, head], cotangent[row, i, head]
            scores = k @ q / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            d_scores = weights * (v @ g - weights @ (v @ g)) / np.sqrt(width)
            grads[0][row, i, head] = d_scores @ k
            grads[1][row, keys, shared] += np.outer(d_scores, q)
            grads[2][row, keys, shared] += np.outer(weights, g)
    return grads


def check(attend, tree, batch, heads=(4, 2)):
    """Values and gradients of `attend` on the tokens of `batch` against brute force."""
    *inputs, cotangent = random_inputs(tree, *heads)
    seen = keys_seen(batch) if tree.window is None else keys_seen(batch, tree.window)
    used = seen.any(axis=-1)[..., None, None]
    cotangent = np.where(used, cotangent, 0.0)
    narrow = [jnp.asarray(x, jnp.float32) for x in inputs]

    @jax.jit
    def run(*inputs):
        output, pull = jax.vjp(lambda *x: attend(*x, tree), *inputs)
        return output, pull(jnp.asarray(cotangent, jnp.float32))

    output, gradients = run(*narrow)
    assert output.dtype == jnp.float32 and np.isfinite(output).all()
    np.testing.assert_allclose(np.where(used, output, 0), brute_force(*inputs, seen), atol=2e-6)
    expected = brute_force_gradients(*inputs, seen, cotangent)
    for name, got, want in zip("qkv", gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=name)
    return output


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


@pytest.mark.parametrize("window", [slow(1), 5, slow(16)])
@pytest.mark.parametrize("attend", COMPUTATIONS)
def test_a_window_reaches_from_a_response_back_into_its_prompt(attend, window, monkeypatch):
    monkeypatch.setattr(block_module, "BLOCK", 24)
    monkeypatch.setattr(dispatch, "QUERY_BLOCK", 24)
    tree, batch = packed_tree(1)
    assert (keys_seen(batch, window) != keys_seen(batch)).any()
    tree = dataclasses.replace(tree, window=window, positions=jnp.asarray(batch.positions))
    check(attend, tree, batch)


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
    pairs = block_module._needed_pairs(tree.visible_until.reshape(-1, 8, 8))
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
        for attend in (segment_attention, flash):
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


@pytest.mark.parametrize(
    ("backend", "dtype", "width", "segments", "prompt_block", "segment_block", "chosen"),
    [
        ("gpu", "float32", 16, 3, 8, 16, "segments"),  # 3 * 16 * 24 = 1152 scores, not 48 * 48
        ("gpu", "float32", 16, 6, 8, 16, "dense"),  # 2304 against 2304
        ("gpu", "float32", 16, None, 0, 0, "dense"),
        ("gpu", "bfloat16", 128, 6, 8, 16, "cudnn"),
        ("gpu", "float16", 64, 6, 8, 16, "cudnn"),
        ("gpu", "bfloat16", 192, 3, 8, 16, "segments"),  # wider than all its kernels take
        ("gpu", "bfloat16", 12, 3, 8, 16, "segments"),
        ("gpu", "bfloat16", 128, None, 0, 0, "dense"),
        ("tpu", "float32", 16, 6, 8, 16, "splash"),
        ("tpu", "bfloat16", 128, None, 0, 0, "splash"),
        ("tpu without tokamax", "bfloat16", 128, 5, 8, 16, "segments"),
        ("tpu without tokamax", "bfloat16", 128, 3, 40, 48, "dense"),
        ("cpu", "bfloat16", 128, 3, 8, 16, "blocks"),
        ("cpu", "float32", 16, None, 0, 0, "blocks"),
    ],
)
def test_the_fastest_computation_is_chosen(
    backend, dtype, width, segments, prompt_block, segment_block, chosen, monkeypatch
):
    laid = None if segments is None else jnp.zeros((1, segments, 4), jnp.int32)
    tree = TokenTree(jnp.full((1, 48), 48), laid, prompt_block, segment_block)
    monkeypatch.setattr(jax, "default_backend", lambda: backend.split()[0])
    monkeypatch.setattr(dispatch, "tokamax_installed", lambda: backend == "tpu")
    assert dispatch.choose(jnp.zeros((1, 48, 1, width), dtype), tree) == chosen


@pytest.mark.parametrize("name", get_args(dispatch.Computation))
def test_a_computation_can_be_named(name, monkeypatch):
    """Each name leads to its own function; "auto" to the choice."""
    functions = ["dense_attention", "segment_attention", "block_attention", "flash_attention"]
    for function in [*functions, "splash_attention"]:
        monkeypatch.setattr(dispatch, function, lambda *_, function=function: function)
    monkeypatch.setattr(dispatch, "choose", lambda *_: "segments")
    names = {"auto": "segment_attention", "segments": "segment_attention"}
    names |= {"cudnn": "flash_attention", "blocks": "block_attention"}
    got = tree_attention(None, None, None, causal_tree(1, 4), name)
    assert got == names.get(name, f"{name}_attention")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flash", "attention: expected one of auto, dense, .*, splash, found 'flash'"),
        ("cudnn", "attention='cudnn' needs the segments of the packed rows"),
        ("segments", "attention='segments' needs the segments of the packed rows"),
    ],
)
def test_what_can_not_be_computed_is_refused(name, message):
    inputs = [jnp.zeros((1, 8, 1, 8))] * 3
    with pytest.raises(ValueError, match=message):
        tree_attention(*inputs, TokenTree(jnp.full((1, 8), 8)), name)


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
    pairs = block_module._needed_pairs(until, jnp.int32(9), positions)
    distance = np.asarray(pairs.queries - pairs.keys)[: pairs.count]
    assert distance.max() == 1 and pairs.count == 8 + 7
