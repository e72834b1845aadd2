"""Logits against transformers, on checkpoints that transformers wrote."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax._src.cudnn import fused_attention_stablehlo
from jax.sharding import AxisType, PartitionSpec

from dignified_jax.data import BatchStream
from dignified_jax.models import families, hf, logprobs
from dignified_jax.models.config import DecoderConfig, Experts
from dignified_jax.models.decoder import Decoder, abstract_params
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.layers import Block
from tests.oracles import hf_models, sequences

pytestmark = pytest.mark.wiring

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 100))


def relative_error(got, want):
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


@pytest.fixture(scope="module")
def expected(loaded):
    """`family -> transformers' logits of TOKENS`, each computed once."""
    return functools.cache(lambda family: hf_models.logits(loaded(family).reference, TOKENS))


@pytest.mark.parametrize("family", hf_models.FAMILIES)
def test_logits_equal_transformers(family, loaded, expected):
    one = loaded(family)
    got = one.model.apply({"params": one.params}, TOKENS)
    assert got.shape == (2, 100, 131) and got.dtype == np.float32
    assert relative_error(got, expected(family)) <= 1e-4


@pytest.mark.parametrize("kind", hf_models.ROPES)
def test_stretched_rotary_embeddings_equal_transformers(kind, tmp_path):
    """100 positions where the context is 40; the same without the scaling is far off."""
    rope = hf_models.ROPES[kind] | {"rope_theta": 5000.0}
    reference = hf_models.build("llama3", rope_parameters=rope, max_position_embeddings=40)
    reference.save_pretrained(tmp_path)
    want = hf_models.logits(reference, TOKENS)
    model, params = hf.load(tmp_path)
    assert relative_error(model.apply({"params": params}, TOKENS), want) <= 1e-4
    plain = model.clone(config=dataclasses.replace(model.config, rope_scaling=None))
    assert relative_error(plain.apply({"params": params}, TOKENS), want) > 1e-3
    hf.save(tmp_path / "again", model, params)
    assert read_config(tmp_path / "again") == model.config
    fields = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {"rope_theta": 5000.0, **fields["rope_scaling"]} == fields["rope_parameters"]


def without_norms(config, params):
    attention = params["layers"]["self_attn"]
    params["layers"]["self_attn"] = {k: v for k, v in attention.items() if "norm" not in k}
    return dataclasses.replace(config, architecture="LlamaForCausalLM")


def without_bias(config, params):
    attention = params["layers"]["self_attn"]
    params["layers"]["self_attn"] = {k: {"kernel": v["kernel"]} for k, v in attention.items()}
    return dataclasses.replace(config, architecture="LlamaForCausalLM")


def changed(**fields):
    return lambda config, params: dataclasses.replace(config, **fields)


def other_experts(**fields):
    return lambda config, params: dataclasses.replace(
        config, experts=dataclasses.replace(config.experts, **fields)
    )


@pytest.mark.parametrize(
    ("family", "ignore"),
    [
        ("llama3.1", changed(rope_theta=10000.0)),
        ("qwen3", changed(rope_theta=500000.0)),
        ("llama3.1", changed(rope_scaling=None)),
        ("llama3.2", changed(rope_scaling=None)),
        ("qwen3", without_norms),
        ("qwen2.5", without_bias),
        ("mistral", changed(sliding_window=None)),
        ("mistral", changed(sliding_window=8)),
        ("smollm3", changed(no_rope_layers=())),
        ("smollm3", changed(no_rope_layers=(0,))),
        ("qwen2.5 with windows", changed(sliding_layers=None)),
        ("qwen2.5 with windows", changed(sliding_window=None)),
        ("gemma3", changed(sliding_layers=None)),
        ("gemma3", changed(sliding_window=8)),
        ("gemma3", changed(local_rope_theta=50000.0)),
        ("gemma3", changed(rope_scaling=None)),
        ("gemma3", changed(query_pre_attn_scalar=None)),
        ("qwen3-moe", other_experts(normalised=False)),
        ("qwen3-moe", other_experts(per_token=1)),
    ],
)
def test_the_comparison_sees_an_ignored_trait(family, ignore, loaded, expected):
    """The tolerance above is tight enough to catch whatever a family does differently."""
    model, params = loaded(family).model, loaded(family).params
    config = ignore(model.config, params)
    got = model.clone(config=config).apply({"params": params}, TOKENS)
    assert relative_error(got, expected(family)) > 1e-3


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gemma3", {"layer": Block}),
        ("gemma3", {"embedding_scale": lambda config: 1.0}),
        ("gemma3", {"traits": {"norm_offset": 0.0}}),
        ("gemma3", {"traits": {"activation": nn.silu}}),
        ("gemma3", {"traits": {"activation": functools.partial(nn.gelu, approximate=False)}}),
    ],
)
def test_the_comparison_sees_an_ignored_part_of_a_layer(
    family, change, loaded, expected, monkeypatch
):
    """1e-4 is exceeded too by the exact GELU, which differs by 5e-4 from its approximation."""
    model, params = loaded(family).model, loaded(family).params
    known = families.of(model.config.architecture)
    if "traits" in change:
        change = {"traits": dataclasses.replace(known.traits, **change["traits"])}
    changed = dataclasses.replace(known, **change)
    monkeypatch.setitem(families._FAMILIES, model.config.architecture, changed)
    got = model.apply({"params": params}, TOKENS)
    assert relative_error(got, expected(family)) > 2e-4


@pytest.mark.parametrize(
    "family", ["qwen2.5", "mistral", "smollm3", "qwen2.5 with windows", "gemma3", "qwen3-moe"]
)
@pytest.mark.parametrize(
    "attention", [pytest.param("dense", marks=pytest.mark.slow), "segments", "blocks"]
)
def test_packed_rows_give_the_log_probs_of_separate_ones(family, attention, loaded):
    """1e-5. A window reaches from a reply back into its prompt, by position."""
    model, params = loaded(family, 3.0).model, loaded(family, 3.0).params
    examples = sequences.random_examples(6, 0, prompt=20, response=12)
    batch = BatchStream(examples, batch_size=6, row_length=160, shuffle=False).batch(0)
    packed = model.clone(attention=attention)
    score = jax.jit(lambda p: logprobs.response_log_probs(packed, p, batch))
    want = sequences.log_probs(model, params, examples)
    np.testing.assert_allclose(score(params), want, rtol=1e-5, atol=1e-4)


def test_bfloat16_compute_is_near_float32_and_norms_stay_wide(loaded):
    model, params = loaded("llama3.1", 3.0).model, loaded("llama3.1", 3.0).params
    wide = np.asarray(model.apply({"params": params}, TOKENS))
    half = model.clone(dtype=np.dtype("bfloat16")).apply({"params": params}, TOKENS)
    assert half.dtype == np.float32
    assert 1e-5 < relative_error(half, wide) < 0.05


def test_gradients_of_a_repeated_token_are_not_lost_in_bfloat16():
    """4,096 places of one token, 1%: a sum in bfloat16 stands still once it is 256 terms large."""
    model = Decoder(CONFIG, attention="dense")
    tokens = np.full((32, 128), 3)
    params = jax.jit(model.init)(jax.random.key(0), tokens[:, :2])["params"]
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


def gradient_program(config, platform, attention):
    """The text of a gradient's program for a platform that need not be here."""
    examples = sequences.random_examples(6, 0)
    batch = BatchStream(examples, batch_size=6, row_length=128).batch(0)
    model = Decoder(config, jnp.bfloat16, attention=attention)

    def total(params):
        return logprobs.response_log_probs(model, params, batch).sum()

    traced = jax.jit(jax.grad(total)).trace(abstract_params(config))
    return traced.lower(lowering_platforms=(platform,)).as_text()


def test_cudnn_has_a_kernel_for_layers_with_a_window_and_one_for_those_without(monkeypatch):
    """Forward, forward again and backward of each."""
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91900)
    config = dataclasses.replace(CONFIG, sliding_window=40, sliding_layers=(1,))
    program = gradient_program(config, "cuda", "cudnn")
    assert program.count("@__cudnn$fmhaSoftmax") == 6


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_experts_products_have_an_instruction_on_tpus_alone(platform, monkeypatch):
    backend = {"cuda": "gpu", "tpu": "tpu"}[platform]
    experts = Experts(count=4, per_token=2, intermediate_size=64, normalised=True)
    config = dataclasses.replace(CONFIG, architecture="Qwen3MoeForCausalLM", experts=experts)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    program = gradient_program(config, platform, "dense")
    assert ("ragged_dot" in program) == (platform == "tpu")


def test_the_attention_of_every_layer_is_the_named_one():
    """Equal log-probs whichever is named, 1e-5; a misspelt name is refused."""
    examples = sequences.random_examples(6, 0)
    batch = BatchStream(examples, batch_size=6, row_length=128).batch(0)
    init = jax.jit(Decoder(CONFIG).init)
    params = init(jax.random.key(0), np.zeros((1, 2), np.int32))["params"]

    @functools.partial(jax.jit, static_argnums=0)
    def score(attention):
        return logprobs.response_log_probs(Decoder(CONFIG, attention=attention), params, batch)

    for attention in ("dense", "segments"):
        np.testing.assert_allclose(score(attention), score("auto"), rtol=1e-5)
    with pytest.raises(ValueError, match="found 'block'"):
        score("block")
