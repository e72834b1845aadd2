"""KL of next-token distributions against NumPy in double precision."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from dignified_jax import data
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.divergence import response_kl, token_kl
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraConfig, LoraParams
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


def test_of_a_policy_that_is_a_base_with_lora(tiny_directory, tiny_tokenizer):
    """Against the same policy with s A B added to its matrices; to float32's rounding."""
    config = dataclasses.replace(read_config(tiny_directory), num_layers=1)
    model = Decoder(config, remat="none", attention="dense")
    own = model.clone(lora=LoraConfig(rank=2, targets=("q_proj",)))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(own.init, jax.random.key(0), np.zeros((1, 2), np.int32))
    draw = lambda x: np.float32(0.3 * rng.normal(size=x.shape))  # noqa: E731
    base, tree = (jax.tree.map(draw, shapes[name]) for name in ("params", "lora"))
    rows = [data.PreferenceRow("Is it late?", "No, it is noon.", {"A": "Yes, if you say so."})]
    batch = data.pack(rows, tiny_tokenizer, row_length=128)

    def merged(params, lora):
        """The tree of the base, each kernel that has LoRA beside it with their product."""
        if "lora_a" in lora:
            product = np.matmul(lora["lora_a"], lora["lora_b"]).reshape(params["kernel"].shape)
            return params | {"kernel": params["kernel"] + own.lora.scale * product}
        return params | {name: merged(params[name], part) for name, part in lora.items()}

    kl = jax.jit(response_kl, static_argnums=0)
    found = kl(own, LoraParams(base, tree), base, batch)
    expected = kl(model, merged(base, tree), base, batch)
    assert float(expected.min()) >= 0 and float(expected.max()) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
