"""The TPU kernel, interpreted with the semantics of a TPU, against brute force."""

import jax
import jax.numpy as jnp
import pytest

pytest.importorskip("tokamax", reason="comes with the extra tpu")
from jax.experimental.pallas import tpu as pltpu

from dignified_jax.models import splash_attention
from dignified_jax.models.attention import tree_attention
from tests.models.test_attention import check, packed_tree


def test_packed_rows_equal_brute_force(monkeypatch):
    """Values and gradients, of rows that end in the middle of their second block."""
    monkeypatch.setattr(splash_attention, "BLOCK", 128)
    tree, batch = packed_tree(0, row_length=200, examples=12)
    with pltpu.force_tpu_interpret_mode():
        check(lambda *x: tree_attention(*x, "splash"), tree, batch, heads=(4, 2))


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
