"""Attention of packed rows by brute force: a query at a time, in float64, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import BatchStream
from dignified_jax.models import logprobs
from dignified_jax.models.attention import blocks as block_module
from dignified_jax.models.attention.cudnn import flash_attention
from dignified_jax.models.attention.dispatch import dense_attention, segment_attention
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
