"""The checks of array annotations see what is wrong, and leave trees without arrays alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import packing
from dignified_jax.models import logprobs
from dignified_jax.models.attention.dispatch import tree_attention
from dignified_jax.models.attention.token_tree import causal_tree, visibility
from dignified_jax.training.step import gradients, held_out, train_step
from tests import annotations
from tests.oracles import sequences

EXAMPLES = sequences.random_examples(3, 0)


@pytest.fixture(scope="module")
def batch():
    lengths = [example.length for example in EXAMPLES]
    plan = packing.best_fit(lengths, 64)
    capacity = packing.Capacity.of(EXAMPLES, [plan])
    return packing.build(
        EXAMPLES, plan, row_length=64, capacity=capacity, rows=len(plan), example_count=3
    )


def test_the_axes_of_arguments_agree():
    query, key = jnp.zeros((2, 8, 4, 16)), jnp.zeros((2, 8, 2, 16))
    assert tree_attention(query, key, key, causal_tree(2, 8), "dense").shape == query.shape
    for wrong in (key[:, :7], key[..., :8], key.astype(jnp.int32), np.zeros(key.shape)):
        with pytest.raises(TypeError, match=r"tree_attention: value: expected .*, found "):
            tree_attention(query, key, wrong, causal_tree(2, 8), "dense")


def test_the_fields_of_a_tree_have_the_axes_of_the_other_arguments():
    query, key = jnp.zeros((2, 8, 4, 16)), jnp.zeros((2, 8, 2, 16))
    with pytest.raises(TypeError, match=r"tree_attention: tree\.visible_until: .*\[2, 7\]"):
        tree_attention(query, key, key, causal_tree(2, 7), "dense")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("tokens", lambda x: x.astype(np.int64)),
        ("source", lambda x: x[:0]),
        ("response", lambda x: x[:, 1:]),
        ("segments", lambda x: x[..., :3]),
        ("response_mask", lambda x: x.astype(np.int32)),
        ("response_length", lambda x: x[:, 1:]),
    ],
)
def test_every_field_of_a_packed_batch_is_checked(field, change, batch):
    values = jnp.zeros(batch.response.size)
    assert logprobs.sum_by_response(values, batch).shape == (3, 5)
    wrong = dataclasses.replace(batch, **{field: change(getattr(batch, field))})
    with pytest.raises(TypeError, match=rf"sum_by_response: batch\.{field}: expected"):
        logprobs.sum_by_response(values, wrong)


def test_trees_of_shapes_and_grouped_rows_pass(batch):
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
    annotations.check(shapes, None, "shapes")
    rows = set(annotations.typing.get_type_hints(type(batch))) - {"prompt_block", "segment_block"}
    rows -= {"response_mask", "response_length"}
    grouped = {name: getattr(batch, name)[None] for name in rows}
    annotations.checked(lambda tree: tree)(dataclasses.replace(batch, **grouped))


def test_public_functions_are_checked():
    for function in (visibility, gradients.compute, held_out.evaluate, train_step.make_kl_step):
        assert hasattr(function, "__wrapped__"), function
    with pytest.raises(RuntimeError, match=r"imported before .*\['dignified_jax.data'\]"):
        annotations.install(["dignified_jax.data"])
