"""The experts' balance loss in a training step, against its definition over the same rows."""

import jax
import numpy as np
import pytest

from dignified_jax.models import hf, logprobs
from dignified_jax.objectives import SFT, PCGradDPO
from dignified_jax.training.step import local
from tests.oracles import hf_models
from tests.training.step.train_run import BATCH, EXAMPLES, Run, assert_close

pytestmark = pytest.mark.wiring

COEFFICIENT = 0.7


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    hf_models.build("qwen3-moe", vocab_size=132).save_pretrained(directory)
    model, params = hf.load(directory)
    host = jax.tree.map(np.array, params)
    return model.clone(remat="none"), host, host


def run(models, balance=0.0, method=None, **options):
    options = {"mesh": (1, 1, 1), "steps": 1, "examples": EXAMPLES[:BATCH]} | options
    return Run(models, method or SFT(), balance=balance, **options)


@pytest.fixture(scope="module")
def without(models):
    return run(models)


def weighted_balance(models, batch):
    """(loss, gradient) of the balance loss a row at a time, averaged by the rows' tokens."""
    model, params, _ = models

    @jax.jit
    def of_row(params, row):
        load = logprobs.response_log_probs_and_load(model, params, row)[1]
        return load.balance_loss() * load.tokens[0]

    rows = batch.tokens.shape[0]
    parts = [jax.value_and_grad(of_row)(params, local.rows_of(batch, n)) for n in range(rows)]
    tokens = batch.segments[..., 3].sum()
    return jax.tree.map(lambda *leaves: sum(leaves) / tokens, *parts)


def test_the_gradient_is_added_and_the_reported_loss_is_the_objectives(models, without):
    """Accumulated over rows: 1e-4 of each leaf's largest, as it is a difference of gradients."""
    added = run(models, COEFFICIENT)
    batch, steps = added.batch(0)
    assert steps > 2
    _, want = weighted_balance(models, batch)
    got = jax.tree.map(
        lambda a, b: (np.float64(a) - b) / COEFFICIENT, added.gradient(0), without.gradient(0)
    )
    router = lambda tree: tree["layers"]["mlp"]["gate"]["kernel"]  # noqa: E731
    assert np.abs(router(want)).max() > 1e-3
    assert_close(router(got), router(want), 1e-4)
    assert added.reports[0]["loss"] == without.reports[0]["loss"]


def test_the_metric_is_that_of_the_whole_batch_whatever_the_mesh(models, without):
    """1e-6 between meshes; between the least, 2 experts a token, and the most, all of 6."""
    split = run(models, COEFFICIENT, mesh=(1, 2, 2))
    for name in ("experts/balance_loss", "experts/busiest"):
        np.testing.assert_allclose(split.reports[0][name], without.reports[0][name], rtol=1e-6)
    assert 2.0 < without.reports[0]["experts/balance_loss"] < 6.0
    assert 1.0 < without.reports[0]["experts/busiest"] < 3.0


def test_devices_of_a_mesh_give_the_gradient_of_a_row_at_a_time(models):
    """2 x 2 devices; 2e-5 of each leaf's largest entry."""
    one, four = run(models, COEFFICIENT), run(models, COEFFICIENT, mesh=(1, 2, 2))
    assert_close(four.gradient(0), one.gradient(0), 2e-5)


@pytest.mark.slow
def test_it_stands_beside_gradients_that_are_combined(models):
    """PCGrad projects the dimensions' gradients alone; 1e-4 of the router's largest entry."""
    method = PCGradDPO(beta=0.2)
    added, plain = (run(models, balance, method) for balance in (COEFFICIENT, 0.0))
    _, want = weighted_balance(models, added.batch(0)[0])
    router = lambda tree: tree["layers"]["mlp"]["gate"]["kernel"]  # noqa: E731
    got = (np.float64(router(added.gradient(0))) - router(plain.gradient(0))) / COEFFICIENT
    assert_close(got, router(want), 1e-4)
