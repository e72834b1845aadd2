"""What LoRA begins with: the base's logits to the bit, and PEFT's draw."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.models.decoder import Decoder
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import TARGETS, LoraConfig, LoraParams, variables


def test_it_begins_as_the_base_to_the_bit_and_is_drawn_as_peft_does(tiny_directory):
    """B is 0; A uniform in +-1/sqrt(in), each layer and matrix of its own."""
    model = Decoder(read_config(tiny_directory), remat="none", attention="dense")
    adapted = model.clone(lora=LoraConfig(rank=8))
    whole = jax.jit(adapted.init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    params, drawn = whole["params"], whole["lora"]
    layers = drawn["layers"]["self_attn"] | drawn["layers"]["mlp"]
    assert sorted(layers) == sorted(TARGETS)
    for pair in layers.values():
        assert not np.any(pair["lora_b"])
        a = np.asarray(pair["lora_a"])
        bound = a.shape[1] ** -0.5
        assert 0.99 * bound < np.abs(a).max() <= bound
        assert a.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    firsts = [np.asarray(p["lora_a"])[i, 0, 0] for p in layers.values() for i in range(2)]
    assert len(set(firsts)) == len(firsts)
    tokens = np.arange(20)[None]
    got = jax.jit(adapted.apply)(variables(LoraParams(params, drawn)), tokens)
    np.testing.assert_array_equal(got, jax.jit(model.apply)({"params": params}, tokens))
