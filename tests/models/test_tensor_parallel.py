"""Parts of a row's computation on several devices against the whole on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from dignified_jax.models import partition
from dignified_jax.models.config import read_config
from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.logprobs import token_log_probs
from dignified_jax.models.tensor_parallel import TensorParallel
from tests.oracles import hf_models

SIZE = 4
P = PartitionSpec


@pytest.fixture(scope="module")
def mesh():
    axes = ("data", "fsdp", "tensor")
    return jax.make_mesh((1, 2, SIZE), axes, axis_types=(AxisType.Auto,) * 3)


def test_log_probs_of_a_split_vocabulary(mesh):
    """Values 1e-6 and both gradients 1e-5 of the dense ones, over two chunks of tokens."""
    keys = jax.random.split(jax.random.key(0), 4)
    hidden = jax.random.normal(keys[0], (1030, 12))
    kernel = 3 * jax.random.normal(keys[1], (12, 40))
    target = jax.random.randint(keys[2], (1030,), 0, 40)
    weight = jax.random.normal(keys[3], (1030,))

    def dense(hidden, kernel):
        chosen = jax.nn.log_softmax(hidden @ kernel)[jnp.arange(1030), target]
        return chosen @ weight, chosen

    def local(hidden, kernel):
        def total(hidden, kernel):
            chosen = token_log_probs(hidden, kernel, target, tensor=TensorParallel(SIZE))
            return chosen @ weight, chosen

        return jax.grad(total, argnums=(0, 1), has_aux=True)(hidden, kernel)

    split = P(None, "tensor")
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=(P(), split), out_specs=((P(), split), P()), check_vma=False
    )
    gradients, chosen = jax.jit(mapped)(hidden, kernel)
    expected, values = jax.grad(dense, argnums=(0, 1), has_aux=True)(hidden, kernel)
    np.testing.assert_allclose(chosen, values, rtol=1e-6, atol=1e-5)
    for got, want in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("family", ["qwen3", "qwen3-tied"])
def test_every_parameter_is_whole_or_split_as_its_use_wants(family, mesh, tmp_path):
    """The parts on the devices have the shapes of the local geometry."""
    hf_models.build(family, vocab_size=132, num_key_value_heads=4).save_pretrained(tmp_path)
    config = read_config(tmp_path)
    shapes = abstract_params(config)
    local = abstract_params(TensorParallel(SIZE).local(config))
    devices = jax.devices()[:SIZE]
    flat = jax.make_mesh((1, 1, SIZE), mesh.axis_names, axis_types=mesh.axis_types, devices=devices)
    shardings = partition.param_shardings(shapes, flat)
    parts = jax.tree.map(lambda leaf, s: s.shard_shape(leaf.shape), shapes, shardings)
    assert parts == jax.tree.map(lambda leaf: leaf.shape, local)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_key_value_heads": 2, "vocab_size": 132}, "num_kv_heads 2"),
        ({"num_key_value_heads": 4, "vocab_size": 131}, "vocab_size 131"),
        (
            {"num_key_value_heads": 4, "vocab_size": 132, "intermediate_size": 82},
            "intermediate_size 82",
        ),
    ],
)
def test_what_does_not_divide_is_named(changes, named, tmp_path):
    hf_models.build("qwen3", **changes).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"mesh.tensor=4 does not divide the model's {named}"):
        TensorParallel(SIZE).local(read_config(tmp_path))


def test_one_device_is_the_identity():
    tensor, x = TensorParallel(), jnp.arange(6.0).reshape(2, 3)
    assert tensor.enter(x) is x and tensor.leave(x) is x
    np.testing.assert_array_equal(tensor.logsumexp(x), jax.nn.logsumexp(x, axis=-1))
    np.testing.assert_array_equal(tensor.take(x, jnp.array([2, 0])), [2.0, 3.0])
