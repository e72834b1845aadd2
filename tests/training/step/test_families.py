"""A training step of each family on a mesh against the same on one device."""

import jax
import numpy as np
import pytest

from dignified_jax.models import hf
from tests.oracles import hf_models
from tests.training.step.train_run import Run, assert_close

pytestmark = pytest.mark.wiring

# Their layers hold what this one's or that of the other tests does.
SLOW = ("qwen2.5", "gemma3", "mistral", "smollm3", "qwen2.5 with windows")


@pytest.fixture(
    scope="module",
    params=[
        "qwen3-moe",
        *(pytest.param(family, marks=pytest.mark.slow) for family in SLOW),
    ],
)
def models(request, tmp_path_factory):
    """Module, policy and reference, the parameters as NumPy arrays."""
    trees = []
    for seed in (0, 1):
        directory = tmp_path_factory.mktemp("model")
        hf_models.build(request.param, seed=seed, vocab_size=132).save_pretrained(directory)
        model, params = hf.load(directory)
        trees.append(jax.tree.map(np.array, params))
    return model.clone(remat="none"), *trees


def test_parameters_and_computation_split_over_four_devices_give_the_gradient_of_one(models):
    """5e-6 of each parameter's largest entry; losses and metrics 1e-5."""
    whole, split = (Run(models, mesh=mesh, steps=1) for mesh in ((1, 1, 1), (1, 2, 2)))
    assert_close(split.gradient(0), whole.gradient(0), 5e-6)
    for name, value in whole.reports[0].items():
        np.testing.assert_allclose(
            split.reports[0][name], value, rtol=1e-5, atol=5e-6, err_msg=name
        )
