"""What tests of steps share."""

import jax
import numpy as np
import pytest

from dignified_jax.models import hf
from tests.oracles import hf_models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Module, policy and reference, the parameters as NumPy arrays."""
    trees = []
    for seed in (0, 1):
        directory = tmp_path_factory.mktemp("model")
        # An even vocabulary can be split over two devices of `tensor`.
        hf_models.build("qwen3", seed=seed, vocab_size=132).save_pretrained(directory)
        model, params = hf.load(directory)
        trees.append(jax.tree.map(np.array, params))
    return model.clone(remat="none"), *trees
