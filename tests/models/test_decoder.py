"""Logits against transformers, on checkpoints that transformers wrote."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from jax.sharding import AxisType, PartitionSpec

from dignified_jax.data import BatchStream
from dignified_jax.models import hf, logprobs
from dignified_jax.models.config import DecoderConfig
from dignified_jax.models.decoder import Decoder, abstract_params
from tests.oracles import hf_models, sequences

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


def test_bfloat16_compute_is_near_float32_and_norms_stay_wide(tmp_path):
    hf_models.build("llama3.1", scale=3.0).save_pretrained(tmp_path)
    model, params = hf.load(tmp_path)
    wide = np.asarray(model.apply({"params": params}, TOKENS))
    half = model.clone(dtype=np.dtype("bfloat16")).apply({"params": params}, TOKENS)
    assert half.dtype == np.float32
    assert 1e-5 < relative_error(half, wide) < 0.05


def test_gradients_of_a_repeated_token_are_not_lost_in_bfloat16():
    """4,096 places of one token, 1%: a sum in bfloat16 stands still once it is 256 terms large."""
    model = Decoder(CONFIG, attention="dense")
    tokens = jnp.full((2, 2048), 3)
    params = model.init(jax.random.key(0), tokens[:, :2])["params"]
    weights = jax.random.normal(jax.random.key(1), (CONFIG.hidden_size,))

    def gradient(dtype):
        def total(params):
            apply = model.clone(dtype=dtype).apply
            hidden = apply({"params": params}, tokens, method=Decoder.hidden_states)
            return jnp.sum(hidden.astype(jnp.float32) @ weights)

        return jax.jit(jax.grad(total))(params)["embed_tokens"]["embedding"][3]

    assert relative_error(gradient(jnp.bfloat16), gradient(jnp.float32)) <= 0.01


CONFIG = DecoderConfig("LlamaForCausalLM", 131, 128, 64, 2, 2, 1, 64, 1e4)


@pytest.mark.parametrize(
    ("attention", "platform", "kernel"),
    [("cudnn", "cuda", "@__cudnn$fmhaSoftmax"), ("splash", "tpu", "@tpu_custom_call")],
)
def test_the_named_attention_is_in_the_program(attention, platform, kernel, monkeypatch):
    """As the train step uses it: all mesh axes manual, layers scanned and recomputed.

    Its forward kernel twice, for the first pass and the recomputation; its backward kernel once.
    """
    if attention == "splash":
        pytest.importorskip("tokamax", reason="comes with the extra tpu")
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91900)
    examples = sequences.random_examples(6, 0)
    batch = BatchStream(examples, batch_size=6, row_length=128, rows_multiple=2).batch(0)
    model = Decoder(CONFIG, jnp.bfloat16, attention=attention)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def gradient(params):
        _, pull = jax.vjp(lambda p: logprobs.response_log_probs(model, p, batch), params)
        return jax.lax.psum(pull(jnp.ones(batch.response_mask.shape))[0], "data")

    whole = PartitionSpec()
    mapped = jax.shard_map(gradient, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)
    traced = jax.jit(mapped).trace(abstract_params(CONFIG))
    assert traced.lower(lowering_platforms=(platform,)).as_text().count(kernel) == 3


def test_the_attention_of_every_layer_is_the_named_one():
    """Equal log-probs whichever is named, 1e-5; a misspelt name is refused."""
    examples = sequences.random_examples(6, 0)
    batch = BatchStream(examples, batch_size=6, row_length=128).batch(0)
    params = Decoder(CONFIG).init(jax.random.key(0), np.zeros((1, 2), np.int32))["params"]

    @functools.partial(jax.jit, static_argnums=0)
    def score(attention):
        return logprobs.response_log_probs(Decoder(CONFIG, attention=attention), params, batch)

    for attention in ("dense", "segments"):
        np.testing.assert_allclose(score(attention), score("auto"), rtol=1e-5)
    with pytest.raises(ValueError, match="found 'block'"):
        score("block")
