"""Policies from every kind of directory: the logits of the model that was written there."""

import json
from fnmatch import fnmatch

import jax
import jax.numpy as jnp
import numpy as np
import peft as torch_peft
import pytest
import torch
from jax.sharding import AxisType
from transformers import AutoModelForCausalLM

from dignified_jax.models import hf
from dignified_jax.models.checkpoint import bytes_read, lora_base, params_checkpoint, policy
from dignified_jax.models.config import UnsupportedModelError
from dignified_jax.models.hf import WeightsError, peft, peft_reader
from dignified_jax.models.lora import LoraConfig, LoraParams, variables
from tests.oracles import hf_models

pytestmark = pytest.mark.wiring

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 12))
LORA = LoraConfig(rank=4, alpha=6.0, targets=("q_proj", "v_proj", "down_proj"), rslora=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    hf_models.build("qwen3-tied", scale=2.0, eos_token_id=[3, 4]).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def trained(base):
    """(model, parameters with LoRA's that are not 0)."""
    model, params = hf.load(base)
    model = model.clone(lora=LORA)
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["lora"]
    rng = np.random.default_rng(1)
    tree = jax.tree.map(lambda x: jnp.float32(0.2 * rng.normal(size=x.shape)), shapes)
    return model, LoraParams(params, tree)


def logits(model, params):
    return np.asarray(jax.jit(model.apply)(variables(params), TOKENS))


def write_lora_run(directory, base, tree):
    """What a LoRA run leaves: numbered checkpoints, and the model's files beside them."""
    params_checkpoint.save_params(directory / "checkpoints" / "3", tree)
    params_checkpoint.copy_model_files(base, directory / "model")
    record = lora_base.LoraBase(LORA, str(base), hf.digest(base))
    lora_base.write(directory / "model", record)


def test_reading_and_writing_are_counted_to_the_end(base, tmp_path):
    """By entries of tensors; below Orbax by the bytes that its files have."""
    counts = {"load": [], "save": [], "digest": []}

    def count(name):
        return lambda done, total: counts[name].append((done, total))

    model, params = hf.load(base, progress=count("load"))
    hf.save(tmp_path / "out", model, params, max_shard_bytes=40_000, progress=count("save"))
    assert hf.digest(tmp_path / "out", count("digest")) == hf.digest(base)
    entries = sum(leaf.size for leaf in jax.tree.leaves(params))
    for name, times in (("load", 1), ("save", 2), ("digest", 1)):
        found = counts[name]
        assert found == sorted(found) and len(found) > 5
        assert found[-1] == (times * entries, times * entries)
    params_checkpoint.save_params(tmp_path / "bare", params)
    look = bytes_read.watched(tmp_path / "bare" / "params")
    assert look()[0] == 0
    params_checkpoint.load_params(tmp_path / "bare")
    done, total = look()
    assert 0.9 * total < done < 1.1 * total and total > entries
    assert bytes_read.watched("gs://nowhere")() is None


def test_a_model_directory_and_a_bare_checkpoint(base, tmp_path):
    model, params = hf.load(base)
    found = policy.load(str(base))
    assert (found.directory, found.source) == (base, base)
    np.testing.assert_array_equal(logits(found.model, found.params), logits(model, params))
    params_checkpoint.save_params(tmp_path / "bare", params)
    params_checkpoint.copy_model_files(base, tmp_path / "bare" / "model")
    found = policy.load(str(tmp_path / "bare"))
    assert found.model.config == model.config
    np.testing.assert_array_equal(logits(found.model, found.params), logits(model, params))
    with pytest.raises(ValueError, match=r"--base: .*bare holds a whole model, not LoRA"):
        policy.load(str(tmp_path / "bare"), base=str(base))


def test_a_run_of_lora_is_not_merged(base, trained, tmp_path):
    write_lora_run(tmp_path, base, trained[1].lora)
    found = policy.load(str(tmp_path))
    assert found.source == tmp_path / "checkpoints" / "3"
    assert found.model.lora == LORA and isinstance(found.params, LoraParams)
    np.testing.assert_array_equal(logits(found.model, found.params), logits(*trained))


def test_lora_over_a_mesh_and_in_bfloat16(base, trained, tmp_path):
    write_lora_run(tmp_path, base, trained[1].lora)
    names = ("data", "fsdp", "tensor")
    mesh = jax.make_mesh(
        (2, 2, 1), names, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:4]
    )
    found = policy.load(str(tmp_path), "bfloat16", mesh)
    leaves = jax.tree.leaves(found.params)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("bfloat16")}
    assert all(len(leaf.sharding.device_set) == 4 for leaf in leaves)
    assert found.model.dtype == jnp.bfloat16


def test_adapters_of_peft(base, trained, tmp_path):
    """Ours, and one that PEFT itself made and wrote; to 1e-5 of logits of some units."""
    ours = tmp_path / "ours"
    peft.save_adapter(ours, trained[0].config, LORA, trained[1].lora, str(base))
    found = policy.load(str(ours))
    assert found.model.lora == LORA and found.directory == base
    np.testing.assert_array_equal(logits(found.model, found.params), logits(*trained))

    torch.manual_seed(0)
    config = torch_peft.LoraConfig(r=3, lora_alpha=5, target_modules=["k_proj", "o_proj"])
    under = AutoModelForCausalLM.from_pretrained(base)
    theirs = torch_peft.get_peft_model(under, config)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path / "theirs")
    found = policy.load(str(tmp_path / "theirs"), base=str(base))
    want = hf_models.logits(theirs, TOKENS)
    np.testing.assert_allclose(logits(found.model, found.params), want, rtol=0, atol=1e-5)
    assert np.abs(want - logits(*hf.load(base))).max() > 0.1


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"use_dora": True}, UnsupportedModelError, r"use_dora: expected False, found True"),
        ({"bias": "all"}, UnsupportedModelError, "bias: expected 'none', found 'all'"),
        ({"rank_pattern": {"q_proj": 9}}, UnsupportedModelError, "rank_pattern: "),
        # PEFT takes the adapter's start off the base's weights when it loads these.
        (
            {"init_lora_weights": "pissa_niter_4"},
            UnsupportedModelError,
            "init_lora_weights: expected True, found 'pissa_niter_4'",
        ),
        (
            {"layer_replication": [[0, 1]]},
            UnsupportedModelError,
            "layer_replication: expected None",
        ),
        (
            {"r": 5},
            WeightsError,
            r"lora_A of .*: expected shape \[5, \d+\], found shape \[4, \d+\]",
        ),
        ({"lora_alpha": "big"}, WeightsError, "lora_alpha: expected a positive number"),
        ({"base_model_name_or_path": None}, WeightsError, "base_model_name_or_path: expected"),
        ({"base_model_name_or_path": "./gone"}, FileNotFoundError, "say where it is with --base"),
    ],
)
def test_adapters_that_can_not_be_used_are_refused_by_field(
    change, error, said, base, trained, tmp_path
):
    peft.save_adapter(tmp_path / "a", trained[0].config, LORA, trained[1].lora, str(base))
    file = tmp_path / "a" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(error, match=said):
        policy.load(str(tmp_path / "a"))


def test_a_base_at_a_revision_of_the_hub_is_not_taken_for_its_newest_state(tmp_path):
    """PEFT's field of the base's version; a directory has none."""
    file = tmp_path / "adapter_config.json"
    for base, revision in (("owner/name", None), ("owner/name", "main"), (str(tmp_path), "v1")):
        fields = {"base_model_name_or_path": base, "revision": revision}
        file.write_text(json.dumps(fields))
        assert peft_reader.read_base(tmp_path) == base
    file.write_text(json.dumps({"base_model_name_or_path": "owner/name", "revision": "v1"}))
    with pytest.raises(WeightsError, match="revision: expected None, found 'v1'; download owner"):
        peft_reader.read_base(tmp_path)


def test_a_tokenizer_of_its_own_hides_no_end_of_turn_of_the_base(base, trained, tmp_path):
    """Trainers leave a tokenizer beside an adapter, and no generation_config.json."""
    adapter = tmp_path / "a"
    peft.save_adapter(adapter, trained[0].config, LORA, trained[1].lora, str(base))
    (adapter / "tokenizer.json").write_text("{}")
    found = policy.load(str(adapter))
    assert found.directory == adapter and found.generation == base
    (adapter / "generation_config.json").write_text("{}")
    assert policy.load(str(adapter)).generation == adapter


def test_an_adapter_of_the_hub_is_downloaded(base, trained, tmp_path, monkeypatch):
    adapter = tmp_path / "a"
    peft.save_adapter(adapter, trained[0].config, LORA, trained[1].lora, str(base))
    asked = []

    def download(name, allow_patterns):
        asked.append((name, [each for each in allow_patterns if fnmatch(peft.WEIGHTS_FILE, each)]))
        return str(adapter)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    found = policy.load("somebody/adapter")
    assert asked == [("somebody/adapter", [peft.WEIGHTS_FILE])] and found.source == adapter
    jax.tree.map(np.testing.assert_array_equal, found.params.lora, trained[1].lora)
