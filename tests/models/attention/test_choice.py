"""Which computation of attention is taken, by backend, shapes and name."""

from typing import get_args

import jax
import jax.numpy as jnp
import pytest

from dignified_jax.models.attention import dispatch
from dignified_jax.models.attention.dispatch import tree_attention
from dignified_jax.models.attention.token_tree import TokenTree, causal_tree


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
