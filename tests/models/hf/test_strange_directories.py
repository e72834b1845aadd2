"""Model directories as found and as forged: loaded as transformers loads them, or one line."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from dignified_jax.files.model_directory import ModelFileError
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import params_checkpoint
from dignified_jax.models.config import UnsupportedModelError
from tests.oracles import hf_models

pytestmark = pytest.mark.wiring

TOKENS = np.arange(3, 20)[None]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Name -> directory of a tiny model: untied, tied, and one of another seed."""
    root = tmp_path_factory.mktemp("sources")
    made = (("plain", "llama3", 0), ("tied", "qwen3-tied", 0), ("other", "llama3", 1))
    for name, family, seed in made:
        hf_models.build(family, seed=seed).save_pretrained(root / name)
    return root


@pytest.fixture
def plain(sources, tmp_path):
    return pathlib.Path(shutil.copytree(sources / "plain", tmp_path / "model"))


def edit(directory, **fields):
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def rename(directory, change):
    file = directory / "model.safetensors"
    tensors = load_file(file)
    save_file({change(name): value for name, value in tensors.items() if change(name)}, file)


def assert_as_transformers(directory):
    model, params = hf.load(directory)
    want = hf_models.logits(AutoModelForCausalLM.from_pretrained(directory), TOKENS)
    got = np.asarray(model.apply({"params": params}, TOKENS))
    assert np.abs(got - want).max() / np.abs(want).max() <= 1e-4


def refused(directory, message, kind):
    with pytest.raises(kind, match=message) as caught:
        hf.load(directory)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"pretraining_tp": 2},
        {"pad_token_id": -1},
        {"hidden_act": "swish"},
        {"sliding_window": 4},  # a Llama has none
        {"architectures": None},
        {"architectures": ["LLaMAForCausalLM"]},
        {"head_dim": None},
        {"auto_map": {"AutoConfig": "custom.Config"}},
        {"rope_parameters": None, "rope_theta": 5000, "rope_scaling": {"type": "default"}},
        {"eos_token_id": [1, 2]},
    ],
)
def test_harmless_fields_are_no_obstacle(fields, plain):
    edit(plain, **fields)
    assert_as_transformers(plain)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("pad_token_id", [0, 1]), ("bos_token_id", [1]), ("eos_token_id", "2")),
        *(("rms_norm_eps", "1e-05"), ("rms_norm_eps", -1.0), ("vocab_size", 512.0)),
        *(("vocab_size", 10**18), ("num_hidden_layers", 10**9), ("num_hidden_layers", True)),
        *(("hidden_size", None), ("hidden_size", []), ("num_attention_heads", 0)),
        *(("num_key_value_heads", 3), ("head_dim", 7), ("rope_parameters", [])),
        *(("tie_word_embeddings", "yes"), ("layer_types", 5), ("model_type", 7)),
        *(("model_type", None), ("architectures", "Llama"), ("hidden_act", ["silu"])),
    ],
)
def test_a_field_that_can_not_be_is_named(field, value, plain):
    edit(plain, **{field: value})
    refused(plain, rf"config\.json: .*{field}", UnsupportedModelError)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": "2"},
        {"rope_type": "linear", "factor": -2.0},
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": []},
        {"rope_type": ["yarn"]},
        {"rope_type": "default", "rope_theta": "x"},
    ],
)
def test_rotary_fields_that_can_not_be(rope, plain):
    edit(plain, rope_parameters={"rope_theta": 1e4} | rope)
    refused(plain, r"config\.json: ", UnsupportedModelError)


@pytest.mark.parametrize("content", ["[]", "5", "{", "", '"text"'])
def test_a_config_that_is_no_object(content, plain):
    (plain / "config.json").write_text(content)
    refused(plain, r"config\.json: ", ModelFileError)


def test_the_single_file_wins_over_an_index(plain, sources):
    """As in transformers."""
    shutil.copy(sources / "other" / "model.safetensors", plain / "model-00001-of-00001.safetensors")
    names = load_file(plain / "model.safetensors")
    weight_map = dict.fromkeys(names, "model-00001-of-00001.safetensors")
    (plain / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    assert_as_transformers(plain)
    (plain / "model.safetensors").unlink()
    assert_as_transformers(plain)


def test_weights_without_the_models_prefix(plain, sources, tmp_path):
    rename(plain, lambda name: name.removeprefix("model."))
    assert_as_transformers(plain)
    tied = pathlib.Path(shutil.copytree(sources / "tied", tmp_path / "tied"))
    rename(tied, lambda name: name.removeprefix("model."))
    edit(tied, architectures=["Qwen3Model"])
    assert_as_transformers(tied)


def test_a_tied_matrix_under_the_heads_name(sources, tmp_path):
    tied = pathlib.Path(shutil.copytree(sources / "tied", tmp_path / "tied"))
    rename(tied, lambda name: name.replace("model.embed_tokens", "lm_head"))
    assert_as_transformers(tied)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "expected a JSON object, found a list"),
        ({}, "weight_map: expected the file of each tensor"),
        ({"weight_map": ["a"]}, "weight_map: expected"),
        ({"weight_map": {"a": 5}}, "weight_map: expected"),
        ({"weight_map": {"a": "../outside.safetensors"}}, "leads out of the directory"),
        ({"weight_map": {"a": "/etc/hostname"}}, "leads out of the directory"),
        ({"weight_map": {"a": "link.safetensors"}}, "leads out of the directory"),
    ],
)
def test_an_index_that_is_forged_or_broken(index, message, plain):
    (plain / "model.safetensors").rename(plain.parent / "outside.safetensors")
    (plain / "link.safetensors").symlink_to(plain.parent / "outside.safetensors")
    (plain / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(plain, message, ValueError)


def test_pointers_and_adapters_are_told(plain):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    weights = (plain / "model.safetensors").read_bytes()
    (plain / "model.safetensors").write_text(pointer)
    refused(plain, r"model\.safetensors: is a Git LFS pointer", ModelFileError)
    (plain / "model.safetensors").write_bytes(weights)
    (plain / "adapter_config.json").write_text("{}")
    refused(plain, "holds a PEFT adapter", hf.WeightsError)


def test_other_weights_are_told_in_one_bounded_line(plain):
    edit(plain, num_hidden_layers=50)
    with pytest.raises(hf.WeightsError, match="; and 403 more") as error:
        hf.load(plain)
    assert "\n" not in str(error.value)


def test_a_directory_of_unsuitable_files(plain):
    with pytest.raises(FileNotFoundError, match="is a file; expected a Hugging Face"):
        hf.resolve(str(plain / "config.json"))
    (plain / "model.safetensors").rename(plain / "pytorch_model.bin")
    refused(plain, "found neither", FileNotFoundError)
    (plain / "config.json").unlink()
    refused(plain, r"config\.json: not found", FileNotFoundError)


def test_a_generation_config_that_leads_elsewhere_is_not_copied(plain, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"token": 1}')
    (plain / "generation_config.json").unlink(missing_ok=True)
    (plain / "generation_config.json").symlink_to(secret)
    with pytest.raises(ModelFileError, match="leads out of the directory"):
        params_checkpoint.copy_model_files(plain, tmp_path / "copy")
    assert not (tmp_path / "copy" / "generation_config.json").exists()
    (plain / "generation_config.json").unlink()
    (plain / "generation_config.json").write_text("no JSON")
    with pytest.raises(ModelFileError, match="not readable as JSON"):
        params_checkpoint.copy_model_files(plain, tmp_path / "copy")
