"""Logits against transformers, on checkpoints that transformers wrote."""

import dataclasses

import jax
import numpy as np
import pytest

from dignified_jax.models import hf
from tests.oracles import hf_models

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 100))


def relative_error(got, want):
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


@pytest.mark.parametrize("family", hf_models.FAMILIES)
def test_logits_equal_transformers(family, tmp_path):
    reference = hf_models.build(family)
    reference.save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    got = model.apply({"params": params}, TOKENS)
    assert got.shape == (2, 100, 131) and got.dtype == np.float32
    assert relative_error(got, hf_models.logits(reference, TOKENS)) <= 1e-4


@pytest.mark.parametrize(
    ("family", "ignored"),
    [
        *(("llama3.1", "rope_theta"), ("qwen3", "rope_theta")),
        *(("llama3.1", "rope_scaling"), ("llama3.2", "rope_scaling"), ("qwen3", "qk_norm")),
    ],
)
def test_the_comparison_sees_an_ignored_field(family, ignored, tmp_path):
    """The tolerance above is tight enough to catch a wrong rotary base, scaling or norm."""
    reference = hf_models.build(family)
    reference.save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    if ignored == "rope_theta":
        config = dataclasses.replace(model.config, rope_theta=model.config.rope_theta * 2)
    elif ignored == "rope_scaling":
        config = dataclasses.replace(model.config, rope_scaling=None)
    else:
        config = dataclasses.replace(model.config, architecture="LlamaForCausalLM")
        params["layers"]["self_attn"] = {
            k: v for k, v in params["layers"]["self_attn"].items() if "norm" not in k
        }
    got = model.clone(config=config).apply({"params": params}, TOKENS)
    assert relative_error(got, hf_models.logits(reference, TOKENS)) > 1e-3


def test_rematerialisation_changes_nothing(tmp_path):
    hf_models.build("qwen3").save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)

    def loss(params, module):
        return (module.apply({"params": params}, TOKENS) ** 2).mean()

    kept = jax.grad(loss)(params, model.clone(remat=False))
    recomputed = jax.grad(loss)(params, model.clone(remat=True))
    for left, right in zip(jax.tree.leaves(kept), jax.tree.leaves(recomputed), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5 * np.abs(left).max())


def test_bfloat16_compute_is_near_float32_and_norms_stay_wide(tmp_path):
    hf_models.build("llama3.1", scale=3.0).save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    wide = np.asarray(model.apply({"params": params}, TOKENS))
    half = model.clone(dtype=np.dtype("bfloat16")).apply({"params": params}, TOKENS)
    assert half.dtype == np.float32
    assert 1e-5 < relative_error(half, wide) < 0.05
