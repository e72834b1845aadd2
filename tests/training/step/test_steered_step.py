"""Preventive steering in the train step: its gradient against the plain computation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from dignified_jax.models import partition
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.lora import variables
from dignified_jax.models.residual import Cap, make_edits
from dignified_jax.objectives import SFT
from dignified_jax.training.step import local, sharding
from tests.oracles import sequences
from tests.training.step.train_run import BATCH, EXAMPLES, Run, assert_close, to_host

pytestmark = pytest.mark.wiring
VECTOR = np.random.default_rng(0).normal(size=48).astype(np.float32)
FIRST = EXAMPLES[:BATCH]


class SteeredRun(Run):
    """Steps with edits of the policy."""

    def inputs(self, step):
        edits = make_edits(self.model.config, {1: 4 * VECTOR})
        return dataclasses.replace(super().inputs(step), edits=edits)


@pytest.fixture(scope="module")
def steered(models):
    return SteeredRun(models, SFT(), examples=FIRST, steps=1)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_steered_loss(models, steered):
    """1e-5 of each parameter's largest entry; far from that without the edits."""
    model, policy, _ = models
    tokens, mask = sequences.separate(FIRST)
    golden = np.arange(len(tokens)) % 5 == 0
    mask = mask & golden[:, None]

    @jax.jit
    def gradient(policy, edits):
        def loss(policy):
            logits = model.apply({"params": policy}, tokens, edits=edits)
            return -sequences.sum_log_probs(logits, tokens, mask).sum() / mask.sum()

        return jax.grad(loss)(policy)

    got = jax.tree.map(lambda leaf: leaf, steered.gradient(0))
    edits = make_edits(model.config, {1: 4 * VECTOR})
    assert_close(got, to_host(gradient(policy, edits)), 1e-5)
    plain = to_host(gradient(policy, jax.tree.map(jnp.zeros_like, edits)))
    with pytest.raises(AssertionError):
        assert_close(got, plain, 0.1)


@pytest.mark.slow
def test_meshes_give_the_same(models, steered):
    """1e-5, over fsdp and over tensor."""
    for mesh in ((1, 4, 1), (2, 1, 2)):
        run = SteeredRun(models, SFT(), mesh=mesh, examples=FIRST, steps=1)
        assert_close(run.gradient(0), steered.gradient(0), 1e-5)


@pytest.mark.slow
def test_captures_on_meshes_are_those_of_one_device(models):
    """1e-5 of each layer's largest, of an edited stream, as the train step splits it."""
    model, policy, _ = models
    edits = make_edits(model.config, {1: 4 * VECTOR}, [Cap(0, VECTOR, high=-0.5)])
    tokens = np.random.default_rng(1).integers(1, 132, (4, 12)).astype(np.int32)

    def stream(model, params, tokens, edits):
        method = Decoder.hidden_states_and_stream
        return model.apply(variables(params), tokens, edits=edits, method=method)[1]

    want = np.asarray(jax.jit(stream, static_argnums=0)(model, policy, tokens, edits))
    scale = np.abs(want).max(axis=(1, 2, 3), keepdims=True)
    rows, whole = partition.BATCH_AXES, PartitionSpec()
    for sizes in ((1, 4, 1), (2, 1, 2)):
        mesh = sharding.make_mesh(sharding.MeshConfig(*sizes), jax.devices()[:4])

        def device(params, tokens, edits, mesh=mesh):
            return stream(*local.decoder(model, params, mesh), tokens, edits)

        specs = (partition.param_specs(policy, mesh), PartitionSpec(rows), whole)
        split = local.shard_map(device, mesh, specs, PartitionSpec(None, rows))
        got = np.asarray(jax.jit(split)(policy, tokens, edits))
        np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=1e-5)
