"""The TPU kernel, interpreted with the semantics of a TPU, against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("tokamax", reason="comes with the extra tpu")
from jax.experimental import topologies
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import SingleDeviceSharding

from dignified_jax.models.attention import splash, visible_blocks
from dignified_jax.models.attention.dispatch import tree_attention
from dignified_jax.models.attention.token_tree import TokenTree
from tests.models.attention.brute_force import check, packed_tree
from tests.models.attention.test_cudnn import dimensions

LONG = 32768


def test_packed_rows_equal_brute_force(monkeypatch):
    """Values and gradients, of rows that end in the middle of their second block."""
    monkeypatch.setattr(splash, "BLOCK", 128)
    tree, batch = packed_tree(0, row_length=200, examples=12)
    with pltpu.force_tpu_interpret_mode():
        check(lambda *x: tree_attention(*x, "splash"), tree, batch, heads=(4, 2))


def test_full_partial_and_invisible_blocks(monkeypatch):
    """The same for long prompts and responses, where there are blocks of every kind."""
    monkeypatch.setattr(splash, "BLOCK", 128)
    tree, batch = packed_tree(11, row_length=800, examples=1, prompt=400, response=250)
    blocks = visible_blocks.VisibleBlocks.of(tree.visible_until[0, :768], 128, keys_outer=False)
    assert blocks.count < blocks.outer.size and blocks.full.sum() > 2
    with pltpu.force_tpu_interpret_mode():
        check(lambda *x: tree_attention(*x, "splash"), tree, batch, heads=(2, 1))


def test_a_row_that_needs_more_masks_than_there_are_is_nan(monkeypatch):
    """And no other row. With one mask a block, two blocks of plain causal attention need three."""
    monkeypatch.setattr(splash, "BLOCK", 128)
    monkeypatch.setattr(visible_blocks, "MASKS_PER_BLOCK", 1)
    inputs = [jnp.ones((2, 256, 1, 128))] * 3
    apart = np.repeat([128, 256], 128)
    tree = TokenTree(jnp.array([apart, np.full(256, 250)]))

    @jax.jit
    def run(*inputs):
        output, pull = jax.vjp(lambda *x: tree_attention(*x, tree, "splash"), *inputs)
        return output, pull(jnp.ones(output.shape))

    with pltpu.force_tpu_interpret_mode():
        output, gradients = run(*inputs)
    np.testing.assert_allclose(output[0], 1, atol=1e-6)
    for array in (output, *gradients):
        assert np.isfinite(array[0]).all() and np.isnan(array[1]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_it_lowers_for_tpus(dtype):
    """Two kernels, forward and backward, at a head width and block of real models."""
    tree, _ = packed_tree(0, row_length=512)
    rows, length = tree.visible_until.shape
    inputs = [jax.ShapeDtypeStruct((rows, length, h, 128), dtype) for h in (4, 2, 2)]

    def total(*inputs):
        return jnp.sum(tree_attention(*inputs, tree, "splash").astype(jnp.float32))

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(*inputs)
    program = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert program.count("@tpu_custom_call") == 2


def traced(heads, kv_heads, **where):
    """Gradients at 32,768 tokens, of the inputs and `visible_until`."""
    shapes = [(1, LONG, h, 128) for h in (heads, kv_heads, kv_heads)]
    inputs = [jax.ShapeDtypeStruct(shape, "bfloat16", **where) for shape in shapes]
    until = jax.ShapeDtypeStruct((1, LONG), "int32", **where)

    def total(query, key, value, until):
        mixed = tree_attention(query, key, value, TokenTree(until), "splash")
        return jnp.sum(mixed.astype(jnp.float32))

    return jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(*inputs, until)


def test_memory_is_linear_in_the_length_of_a_row():
    """Of two heads the largest arrays are the masks: at 32k a 26th of all pairs."""
    program = traced(2, 1).lower(lowering_platforms=("tpu",)).as_text()
    largest = max(map(np.prod, dimensions(program)))
    assert largest == visible_blocks.MASKS_PER_BLOCK * splash.BLOCK * LONG < LONG**2 / 25


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5p:2x2x1", "v5e:2x2"])
def test_memory_on_real_tpu_topologies(topology, monkeypatch):
    """The masks of both passes and eight arrays like the queries' bound it: 336 MiB of four heads.

    Copies of the inputs with heads first, outputs and gradients, three partial sums of the
    queries' gradient, row sums and maxima. The whole mask was 1 GiB in each pass.
    """
    pytest.importorskip("libtpu", reason="comes with the extra tpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    device = topologies.get_topology_desc(topology, platform="tpu").devices[0]
    program = traced(4, 2, sharding=SingleDeviceSharding(device)).lower()
    masks = 2 * visible_blocks.MASKS_PER_BLOCK * splash.BLOCK * LONG
    queries = 4 * LONG * 128 * 2
    assert program.compile().memory_analysis().temp_size_in_bytes < masks + 8 * queries
