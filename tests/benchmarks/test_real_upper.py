"""The upper layers on kept states of the lower ones are the whole model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.real import activations
from dignified_jax import data
from dignified_jax.data import DIMENSIONS
from dignified_jax.embedded import resolve
from dignified_jax.models import hf, logprobs
from dignified_jax.training.step import sharding
from dignified_jax.training.step.train_step import make_score_step

pytestmark = pytest.mark.wiring

SIZE = 4


@pytest.fixture(scope="module")
def examples(tiny_tokenizer):
    rows = [
        data.PreferenceRow(
            f"Question {number} " * (1 + number % 3),
            "a good answer " * (1 + number % 4),
            {DIMENSIONS[number % 4]: "another one"},
        )
        for number in range(10)
    ]
    return data.encode(rows, tiny_tokenizer)[0]


def test_batches_have_every_example_once_and_nearly_equal_lengths(examples):
    found = activations.batches(examples, SIZE, seed=0)
    assert sorted(i for own in found.members for i in own) == list(range(10))
    assert max(map(len, found.members)) <= SIZE
    numbers = [np.array([[i] for i in own] + [[-1]] * (SIZE - len(own))) for own in found.members]
    np.testing.assert_array_equal(found.in_order(numbers)[:, 0], range(10))
    many = examples * 12  # 120 examples: 30 batches
    lengths = [
        sum(many[i].length for i in own) for own in activations.batches(many, SIZE, 0).members
    ]
    at_random = [sum(many[i].length for i in range(n, n + SIZE)) for n in range(0, 120, SIZE)]
    assert np.std(lengths) < 0.5 * np.std(at_random)


@pytest.mark.parametrize("layers", [1])
def test_log_probs_and_gradients_are_those_of_the_whole_model(examples, layers):
    model, params = hf.load(resolve("embedded:tiny-qwen3"), "float32")
    model = model.clone(remat="none")
    found = activations.batches(examples, SIZE, seed=0)
    states = activations.lower_states(model, params, layers, found.packed)
    table = states.reshape(-1, states.shape[-1])
    top, base = activations.upper(model, params, layers, table)
    assert top.config.num_layers == model.config.num_layers - layers > 0
    mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[:1])
    score = make_score_step(top, mesh)
    placed = activations.on_devices(found, 0, mesh)
    for batch, other in zip(found.packed[:2], placed[:2], strict=True):
        expected = logprobs.response_log_probs(model, params, batch)
        np.testing.assert_allclose(score(base, other, np.int32(1)), expected, rtol=1e-5, atol=1e-4)

    def total(kernel, model, params, batch):
        mlp = {**params["layers"]["mlp"], "down_proj": {"kernel": kernel}}
        changed = params | {"layers": {**params["layers"], "mlp": mlp}}
        return logprobs.response_log_probs(model, changed, batch).sum()

    batch = found.packed[1]
    entries = batch.tokens.shape[1] + np.arange(batch.tokens.shape[1], dtype=np.int32)[None]
    whole = jax.grad(total)(params["layers"]["mlp"]["down_proj"]["kernel"], model, params, batch)
    above = jax.grad(total)(
        base["layers"]["mlp"]["down_proj"]["kernel"],
        top,
        base,
        dataclasses.replace(batch, tokens=entries),
    )
    scale = float(jnp.abs(whole).max())
    np.testing.assert_allclose(above, whole[layers:], rtol=1e-4, atol=1e-5 * scale)
