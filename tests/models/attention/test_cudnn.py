"""The program that NVIDIA GPUs run, lowered on any machine; its values are in test_attention."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from dignified_jax.models.attention.dispatch import tree_attention
from dignified_jax.models.attention.token_tree import TokenTree
from tests.models.attention.brute_force import packed_tree

HEADS, KV_HEADS, WIDTH = 4, 2, 64


@pytest.fixture(autouse=True)
def version(monkeypatch):
    """A machine without cuDNN refuses to trace it."""
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91900)


def lowered(tree, dtype="bfloat16"):
    """StableHLO for CUDA of the attention and its gradients."""
    rows, length = tree.visible_until.shape
    shapes = [(rows, length, heads, WIDTH) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    inputs = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]

    def total(query, key, value):
        mixed = tree_attention(query, key, value, tree, "cudnn")
        return jnp.sum(jnp.sin(mixed.astype(jnp.float32)))

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(*inputs)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def dimensions(program):
    """Shapes of all arrays of a program."""
    found = set(re.findall(r"tensor<((?:\d+x)+)\w+>", program))
    return [list(map(int, shape.split("x")[:-1])) for shape in found]


def test_cudnn_takes_causal_rows_with_lengths_and_no_mask():
    """Forward and backward are its kernels, without a bias, on the unpacked rows."""
    tree, batch = packed_tree(0, row_length=96)
    program = lowered(tree)
    calls = re.findall(r"custom_call @(__cudnn\S+?)\((.*)", program)
    assert [name for name, _ in calls] == ["__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"]
    rows, segments, _ = tree.segments.shape
    block = tree.prompt_block + tree.segment_block
    for _, call in calls:
        assert r"mask_type\22: \22PADDING_CAUSAL\22" in call
        assert call.count(f"tensor<{rows * segments}xi32>") == 2  # lengths of queries and keys
        for heads in (HEADS, KV_HEADS):
            assert f"tensor<{rows * segments}x{block}x{heads}x{WIDTH}xbf16>" in call
    # No array of the program has both an axis of queries and one of keys.
    for axis in (block, batch.tokens.shape[1]):
        assert not [shape for shape in dimensions(program) if shape.count(axis) > 1]


def test_memory_is_linear_in_the_length_of_a_row():
    """Of a prompt of 24k and responses of 2k in a row of 32k the largest array is the queries'."""
    prompt, response, length = 24576, 2048, 32768
    starts = [prompt + response * n for n in range(4)]
    segments = np.array([[[0, 0, 0, prompt], *[[0, prompt, s, response] for s in starts]]])
    tree = TokenTree(np.zeros((1, length), np.int32), segments.astype(np.int32), prompt, prompt)
    largest = max(map(np.prod, dimensions(lowered(tree))))
    assert largest == 5 * length * HEADS * WIDTH


def test_memory_at_32k_is_that_of_the_unpacked_segments():
    """Of rows full of usual examples: their number by the longest, far from all pairs of tokens."""
    tree, _ = packed_tree(0, row_length=32768, examples=40, prompt=480, response=580)
    rows, segments, _ = tree.segments.shape
    largest = max(map(np.prod, dimensions(lowered(tree))))
    block = tree.prompt_block + tree.segment_block
    assert segments > 80
    assert largest == rows * segments * block * HEADS * WIDTH < rows * 32768**2 / 20


def test_float32_is_refused_by_name():
    tree, _ = packed_tree(0)
    with pytest.raises(ValueError, match=r"attention='cudnn' takes bfloat16 and float16, .*32"):
        lowered(tree, "float32")
