"""Weights in and out: round trips, and refusals that name what is wrong."""

import json
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
from jax.sharding import AxisType
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from dignified_jax.models import hf
from dignified_jax.models.config import UnsupportedModelError
from dignified_jax.models.decoder import Decoder
from dignified_jax.models.hf import writer
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.hf.names import INDEX_FILE
from dignified_jax.models.hf.weight_files import find
from tests.oracles import hf_models

pytestmark = pytest.mark.wiring


@pytest.fixture
def checkpoint(tmp_path):
    hf_models.build("qwen3").save_pretrained(tmp_path / "source")
    return tmp_path / "source"


def edit_config(directory, **fields):
    file = pathlib.Path(directory) / "config.json"
    config = json.loads(file.read_text())
    config |= fields
    file.write_text(json.dumps({k: v for k, v in config.items() if v != "absent"}))


def edit_tensors(directory, change):
    file = pathlib.Path(directory) / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, file)


def test_parameters_of_another_shape_than_the_configuration_are_not_written(checkpoint, tmp_path):
    model, params = hf.load(checkpoint)
    edit_config(checkpoint, vocab_size=model.config.vocab_size - 1)
    other = Decoder(read_config(checkpoint))
    with pytest.raises(ValueError, match=r"parameter embed_tokens/embedding: .* found \("):
        hf.save(tmp_path / "out", other, params)
    with pytest.raises(ValueError, match=r"parameter norm/scale: .* found none"):
        hf.save(tmp_path / "out", model, {k: v for k, v in params.items() if k != "norm"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", hf_models.FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("max_shard_bytes", [10**9, 40_000])
def test_round_trip_is_bit_identical(family, dtype, max_shard_bytes, tmp_path):
    original = hf_models.build(family).to(getattr(torch, dtype))
    original.save_pretrained(tmp_path / "a")
    model, params = hf.load(tmp_path / "a", dtype=None)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {dtype}
    hf.save(tmp_path / "b", model, params, max_shard_bytes=max_shard_bytes)
    files = sorted(path.name for path in (tmp_path / "b").glob("*.safetensors"))
    assert (files == ["model.safetensors"]) == (max_shard_bytes == 10**9)
    returned = AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    assert returned.dtype == original.dtype
    for name, tensor in original.state_dict().items():
        assert torch.equal(tensor, returned.state_dict()[name]), name
    config = returned.config
    assert config.rope_parameters == original.config.rope_parameters
    again, reloaded = hf.load(tmp_path / "b", dtype=None)
    assert again.config == model.config
    for left, right in zip(jax.tree.leaves(params), jax.tree.leaves(reloaded), strict=True):
        np.testing.assert_array_equal(left, right)


def test_shards_that_transformers_wrote_are_read(tmp_path):
    original = hf_models.build("llama3.1")
    original.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    original.save_pretrained(tmp_path / "single")
    assert (tmp_path / "sharded" / INDEX_FILE).is_file()
    _, one = hf.load(tmp_path / "sharded")
    _, two = hf.load(tmp_path / "single")
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("shape", [(1, 8), (2, 4), (4, 2)])
def test_loading_onto_a_mesh_is_sharded_and_equal(shape, checkpoint):
    mesh = jax.make_mesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
    _, whole = hf.load(checkpoint)
    model, parts = hf.load(checkpoint, mesh=mesh)
    for left, right in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(left, right)
    kernel = parts["layers"]["mlp"]["up_proj"]["kernel"]
    assert kernel.addressable_shards[0].data.nbytes * shape[1] == kernel.nbytes
    tokens = np.arange(20).reshape(2, 10)
    want = np.asarray(model.apply({"params": whole}, tokens))
    got = model.apply({"params": parts}, tokens)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_an_axis_that_does_not_divide_is_refused(tmp_path):
    hf_models.build("llama3").save_pretrained(tmp_path)
    devices = jax.devices()[:5]
    mesh = jax.make_mesh((1, 5), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2, devices=devices)
    with pytest.raises(ValueError, match=r"mesh.fsdp: axis 1 of .* not a multiple of fsdp=5"):
        hf.load(tmp_path, mesh=mesh)


def test_transformers_4_config_is_read(checkpoint, tmp_path):
    """rope_theta and rope_scaling at the top, torch_dtype, no head_dim."""
    hf_models.build("llama3.1").save_pretrained(tmp_path / "new")
    want = read_config(tmp_path / "new")
    scaling = {k: v for k, v in hf_models.LLAMA3_ROPE.items() if k != "rope_theta"}
    edit_config(
        tmp_path / "new",
        rope_parameters="absent",
        rope_theta=5000.0,
        rope_scaling={"type": scaling.pop("rope_type"), **scaling},
        torch_dtype="float32",
        dtype="absent",
        head_dim="absent",
    )
    assert read_config(tmp_path / "new") == want


def test_exported_config_has_the_fields_of_transformers_4_and_5(checkpoint, tmp_path):
    model, params = hf.load(checkpoint)
    hf.save(tmp_path / "out", model, params, dtype="bfloat16")
    fields = json.loads((tmp_path / "out" / "config.json").read_text())
    assert fields["rope_theta"] == fields["rope_parameters"]["rope_theta"] == 1e6
    assert fields["dtype"] == fields["torch_dtype"] == "bfloat16"
    assert fields["head_dim"] == 16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architectures": ["MistralForCausalLM"]}, "MistralForCausalLM"),
        ({"model_type": "gemma2"}, "'gemma2': soft-capped scores .* are missing"),
        ({"model_type": "newest"}, "'newest': it is not known here"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "Qwen3ForSequenceClassification"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"attention_dropout": 0.1}, "attention_dropout is 0.1"),
        ({"use_sliding_window": True, "sliding_window": "8"}, "sliding_window: expected a whole"),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "is null"),
        ({"layer_types": ["full_attention", "chunked_attention", "full_attention"]}, "chunked_at"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "'longrope'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, "factor"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantization_config"),
    ],
)
def test_unsupported_mathematics_is_refused_by_name(fields, message, checkpoint):
    edit_config(checkpoint, **fields)
    with pytest.raises(UnsupportedModelError, match=message):
        hf.load(checkpoint)


def test_llama_mlp_bias_is_refused(tmp_path):
    hf_models.build("llama3").save_pretrained(tmp_path)
    edit_config(tmp_path, mlp_bias=True)
    with pytest.raises(UnsupportedModelError, match="mlp_bias is True"):
        hf.load(tmp_path)


def test_wrong_tensors_are_all_listed(checkpoint):
    def change(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"]
        tensors["model.layers.0.mlp.extra.weight"] = np.zeros(3, np.float32)
        tensors["model.norm.weight"] = np.ones(7, np.float32)
        tensors["lm_head.weight"] = np.zeros((131, 48), np.int8)

    edit_tensors(checkpoint, change)
    with pytest.raises(hf.WeightsError) as error:
        hf.load(checkpoint)
    for part in (
        "missing tensor model.layers.1.mlp.up_proj.weight",
        "unknown tensor model.layers.0.mlp.extra.weight",
        "model.norm.weight has shape (7,), expected (48,)",
        "lm_head.weight has dtype I8",
    ):
        assert part in str(error.value)


def test_tied_head_equal_copy_is_accepted_and_a_different_one_refused(tmp_path):
    hf_models.build("qwen3-tied").save_pretrained(tmp_path)
    _, want = hf.load(tmp_path)
    embedding = "model.embed_tokens.weight"
    edit_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t[embedding].copy()}))
    _, got = hf.load(tmp_path)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    edit_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t[embedding] + 1}))
    with pytest.raises(hf.WeightsError, match=r"lm_head\.weight differs"):
        hf.load(tmp_path)


def test_missing_and_damaged_files(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config.json: not found"):
        hf.load(tmp_path / "nowhere")
    shutil.copytree(checkpoint, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(hf.WeightsError, match="not a readable safetensors file"):
        hf.load(tmp_path / "cut")
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"found neither model\.safetensors nor"):
        hf.load(tmp_path / "cut")
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
    (tmp_path / "cut" / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match=r"named in .*index.json, but not found"):
        hf.load(tmp_path / "cut")


def test_saving_again_leaves_no_old_shards(checkpoint, tmp_path):
    model, params = hf.load(checkpoint)
    hf.save(tmp_path / "out", model, params, max_shard_bytes=40_000)
    hf.save(tmp_path / "out", model, params)
    assert sorted(p.name for p in (tmp_path / "out").glob("model*")) == ["model.safetensors"]


def test_saving_casts_when_asked(checkpoint, tmp_path):
    model, params = hf.load(checkpoint)
    hf.save(tmp_path / "out", model, params, dtype="bfloat16")
    assert hf.stored_dtype(tmp_path / "out") == "bfloat16"
    stored = load_file(tmp_path / "out" / "model.safetensors")["lm_head.weight"]
    want = np.asarray(params["lm_head"]["kernel"]).T.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(stored, want)


def test_weights_that_a_dtype_can_not_hold_are_refused_by_name(checkpoint, tmp_path):
    """In float16 70000 is infinite, and so is float32's largest in bfloat16."""
    model, params = hf.load(checkpoint)
    scale = params["norm"]["scale"]
    at_most = {**params, "norm": {"scale": scale.at[1].set(-65504.0)}}
    hf.save(tmp_path / "out", model, at_most, dtype="float16")
    assert load_file(tmp_path / "out" / "model.safetensors")["model.norm.weight"][1] == -65504
    for dtype, value, said in (
        ("float16", -70000.0, "of at most 65504, found 70000"),
        ("bfloat16", np.finfo(np.float32).max, "of at most 3.38953e[+]38, found 3.40282e[+]38"),
    ):
        beyond = {**params, "norm": {"scale": scale.at[1].set(value)}}
        with pytest.raises(ValueError, match=rf"model.norm.weight: .* {dtype} can hold, {said}"):
            hf.save(tmp_path / dtype, model, beyond, dtype=dtype)
        assert not (tmp_path / dtype).exists()
    lora = np.array([np.inf, np.nan, 1], np.float32)  # as they were, they stay
    np.testing.assert_array_equal(writer.cast("x", lora, "float16"), lora)


def test_buffers_and_images_say_nothing_of_the_weights_dtype(tmp_path):
    """Old exports of Llama in float16 have rotary frequencies in float32."""
    half, single = np.zeros(2, np.float16), np.zeros(2, np.float32)
    others = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": single,
        "vision_tower.vision_model.embeddings.position_ids": np.zeros(2, np.int64),
    }
    save_file({"model.norm.weight": half, **others}, tmp_path / "model.safetensors")
    assert hf.stored_dtype(tmp_path) == "float16"


def test_a_hub_id_that_cannot_be_reached_is_an_error():
    with pytest.raises(FileNotFoundError, match="the hub could not give it"):
        hf.resolve("nobody/nothing-here")
    with pytest.raises(FileNotFoundError, match="not a hub id"):
        hf.resolve("./nothing/here")


@pytest.mark.parametrize("weights", [True, False])
def test_a_hub_id_is_downloaded_with_weights_or_without(weights, monkeypatch, tmp_path):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, set(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hf.resolve("somebody/something", weights) == tmp_path
    ((name, patterns),) = asked
    assert name == "somebody/something" and {"*.json", "*.jinja"} < patterns
    assert ("model*.safetensors" in patterns) == weights


def test_experts_of_a_layer_in_one_tensor_are_read(tmp_path):
    """As transformers 5 holds and may write them; whole, in parts, and refused by shape."""
    original = hf_models.build("qwen3-moe")
    original.save_pretrained(tmp_path / "apart")
    original.save_pretrained(tmp_path / "together", save_original_format=False)
    apart, together = (find(tmp_path / name) for name in ("apart", "together"))
    assert len(together) < len(apart)
    model, params = hf.load(tmp_path / "together", dtype=None)
    for left, right in zip(
        jax.tree.leaves(params), jax.tree.leaves(hf.load(tmp_path / "apart")[1]), strict=True
    ):
        np.testing.assert_array_equal(left, right)
    stored = hf.stored(tmp_path / "together", model.config)
    part = (slice(3, 9), slice(1, 5))
    for name, tensor in apart.items():
        if ".experts." in name:
            np.testing.assert_array_equal(stored[name].read(part), tensor.read(part))

    def cut(tensors):
        name = next(name for name in tensors if name.endswith("gate_up_proj"))
        tensors[name] = tensors[name][:-1]

    edit_tensors(tmp_path / "together", cut)
    with pytest.raises(hf.WeightsError, match=r"gate_up_proj has shape \(\d+, .*\), expected"):
        hf.load(tmp_path / "together")
