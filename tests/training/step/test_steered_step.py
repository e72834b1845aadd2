"""Preventive steering in the train step: its gradient against the plain computation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.models.residual import make_edits
from dignified_jax.objectives import SFT
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
