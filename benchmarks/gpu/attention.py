"""Every attention that this device has against dense attention in float64, forward and gradient."""

from __future__ import annotations

import argparse
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu.result import Result, emit
from benchmarks.gpu.sizes import SIZES
from benchmarks.train_step_examples import make_examples
from benchmarks.train_step_layouts import trees
from dignified_jax.models.attention.dispatch import Computation, tree_attention
from dignified_jax.models.attention.token_tree import TokenTree

PART = "attention"
# Largest difference by the largest value: eight times half a unit in the last place, for the
# products and the sums that are rounded to it.
_BOUNDS = {"float32": 8 * 2**-24 * 64, "bfloat16": 8 * 2**-9}


def check(size: str) -> None:
    """Emits a result for every computation and dtype."""
    rows, length, heads, kv_heads, width = SIZES[size].attention
    scale = length / 2600  # an example fills a row
    examples = make_examples(rows, 1000, 0, scale=0.8 * scale)
    batch = trees(examples, row_length=length)
    blocks = batch.prompt_block, batch.segment_block
    tree = TokenTree(batch.visible_until, batch.segments, *blocks)
    rng = np.random.default_rng(0)
    shapes = [(len(batch.tokens), length, n, width) for n in (heads, kv_heads, kv_heads, heads)]
    *inputs, weight = (rng.standard_normal(shape) for shape in shapes)
    used = np.asarray(batch.segments[..., 3].sum(axis=1))
    weight *= (np.arange(length) < used[:, None])[..., None, None]  # padding's output is anything
    for dtype, bound in _BOUNDS.items():
        rounded = [np.asarray(jnp.asarray(x, dtype), np.float64) for x in inputs]
        with jax.enable_x64(True):
            expected = _run(rounded, weight, tree, "dense", "float64")
        for computation in get_args(Computation):
            if computation in ("auto", "splash"):
                continue
            _one(computation, dtype, bound, (rounded, weight, tree), expected)


def _one(computation: str, dtype: str, bound: float, problem: tuple, expected: list) -> None:
    name = f"{computation}, {dtype}"
    if computation == "cudnn" and (dtype == "float32" or jax.default_backend() != "gpu"):
        why = "cuDNN takes bfloat16" if dtype == "float32" else "needs a GPU"
        emit(Result(PART, name, note=f"skipped: {why}"))
        return
    try:
        with jax.default_matmul_precision("highest"):
            found = _run(*problem, computation, dtype)
    except Exception as error:
        emit(Result(PART, name, passed=False, note=f"{type(error).__name__}: {error}"[:300]))
        return
    differences = [
        float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True)
    ]
    worst = max(differences)
    parts = ("output", "query's gradient", "key's gradient", "value's gradient")
    where = parts[differences.index(worst)]
    note = f"largest at {where}; at most {bound:.1e}"
    emit(Result(PART, name, worst, "of the largest", worst <= bound, note))


def _run(
    inputs: list[np.ndarray], weight: np.ndarray, tree: TokenTree, kind: Computation, dtype: str
) -> list[np.ndarray]:
    """Output, where there is a weight, and gradients of the weighted sum, in float64."""
    arrays = [jnp.asarray(x, dtype) for x in inputs]
    weights = jnp.asarray(weight, dtype)

    def total(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = tree_attention(query, key, value, tree, kind)
        exact = jnp.promote_types(mixed.dtype, jnp.float32)
        return jnp.sum(mixed.astype(exact) * weights.astype(exact)), mixed

    run = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
    gradients, mixed = run(*arrays)
    masked = np.where(weight != 0, np.asarray(mixed, np.float64), 0)
    return [masked, *(np.asarray(gradient, np.float64) for gradient in gradients)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, required=True)
    check(parser.parse_args().size)
