"""Parts of a row's computation on several devices against the whole on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from dignified_jax.models import partition
from dignified_jax.models.decoder import abstract_params
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.tensor_parallel import TensorParallel
from tests.oracles import hf_models

SIZE = 4


@pytest.fixture(scope="module")
def mesh():
    axes = ("data", "fsdp", "tensor")
    return jax.make_mesh((1, 2, SIZE), axes, axis_types=(AxisType.Auto,) * 3)


@pytest.mark.parametrize("family", ["qwen3", "qwen3-tied", "qwen2.5", "gemma3", "qwen3-moe"])
def test_every_parameter_is_whole_or_split_as_its_use_wants(family, mesh, tmp_path):
    """The parts on the devices have the shapes of the local geometry."""
    sizes = {"vocab_size": 132, "num_key_value_heads": 4}
    sizes |= {"num_experts": 8} if family == "qwen3-moe" else {}
    hf_models.build(family, **sizes).save_pretrained(tmp_path)
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


def test_experts_that_do_not_divide_are_named(tmp_path):
    """6 experts; the feed-forward width that no layer has need not divide."""
    sizes = {"num_key_value_heads": 4, "vocab_size": 132, "intermediate_size": 82}
    hf_models.build("qwen3-moe", **sizes).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not divide the model's num_experts 6"):
        TensorParallel(SIZE).local(read_config(tmp_path))


def test_one_device_is_the_identity():
    tensor, x = TensorParallel(), jnp.arange(6.0).reshape(2, 3)
    assert tensor.enter(x) is x and tensor.leave(x) is x
    np.testing.assert_array_equal(tensor.logsumexp(x), jax.nn.logsumexp(x, axis=-1))
