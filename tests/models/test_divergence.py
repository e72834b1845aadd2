"""KL of next-token distributions against NumPy in double precision."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from dignified_jax.models.divergence import token_kl
from dignified_jax.models.tensor_parallel import TensorParallel

TOKENS, HIDDEN, VOCABULARY = 1030, 12, 40  # two chunks


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(2, TOKENS, HIDDEN)).astype(np.float32)
    kernel = 2 * rng.normal(size=(2, HIDDEN, VOCABULARY)).astype(np.float32)
    return tuple(hidden), tuple(kernel)


def by_numpy(hidden, kernel):
    logits = [
        h.astype(np.float64) @ k.astype(np.float64) for h, k in zip(hidden, kernel, strict=True)
    ]
    p, q = (x - np.log(np.exp(x).sum(axis=-1, keepdims=True)) for x in logits)
    return (np.exp(p) * (p - q)).sum(axis=-1)


def test_every_token_equals_numpy(arrays):
    np.testing.assert_allclose(token_kl(*arrays), by_numpy(*arrays), rtol=2e-5, atol=1e-5)


def test_a_split_vocabulary_changes_nothing(arrays):
    mesh = jax.make_mesh((4,), ("tensor",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    split = (PartitionSpec(None, "tensor"),) * 2
    mapped = jax.shard_map(
        lambda hidden, kernel: token_kl(hidden, kernel, tensor=TensorParallel(4)),
        **{"mesh": mesh, "in_specs": (PartitionSpec(), split), "out_specs": PartitionSpec()},
        check_vma=False,
    )
    found = jax.jit(mapped)(*arrays)
    np.testing.assert_allclose(found, by_numpy(*arrays), rtol=2e-5, atol=1e-5)


def test_the_same_model_has_none(arrays):
    hidden, kernel = arrays
    same = token_kl((hidden[0],) * 2, (kernel[0],) * 2)
    np.testing.assert_array_equal(same, np.zeros(TOKENS))
