"""Gemma 3: rows against transformers' own, windows shorter than prompts, and its checkpoints."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import peft as torch_peft
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    SiglipVisionConfig,
)

from dignified_jax.data import BatchStream
from dignified_jax.models import hf, logprobs
from dignified_jax.models.config import UnsupportedModelError
from dignified_jax.models.hf import peft, peft_reader
from dignified_jax.models.hf.config import is_wrapped, read_config
from dignified_jax.models.lora import LoraConfig, LoraParams, variables
from tests.oracles import hf_models, sequences

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 30))


@pytest.fixture(scope="module")
def reference():
    return hf_models.build("gemma3", scale=3.0)


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gemma3")
    reference.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def rows():
    """Examples whose prompts are all longer than the window of 7, and their packed batch."""
    examples = [
        e
        for e in sequences.random_examples(30, 3, prompt=25, response=12)
        if len(e.prompt) > 8 and len(e.responses[0]) > 1
    ][:6]
    batch = BatchStream(examples, batch_size=6, row_length=192, shuffle=False).batch(0)
    return examples, batch


def test_packed_rows_give_the_log_probs_of_transformers(reference, checkpoint, rows):
    """1e-4 of sums of some hundred nats; a window by packed places would be far off."""
    examples, batch = rows
    tokens, mask = sequences.separate(examples)
    want = sequences.sum_log_probs(hf_models.logits(reference, tokens), tokens, mask)
    model, params = hf.load(checkpoint)
    got = jax.jit(lambda p: logprobs.response_log_probs(model, p, batch))(params)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("attention", [pytest.param("segments", marks=pytest.mark.slow), "blocks"])
def test_gradients_are_those_of_separate_rows(attention, checkpoint, rows):
    """Of a random linear function of the log-probs; 2e-5 of each leaf's largest entry."""
    examples, batch = rows
    model, params = hf.load(checkpoint)
    model = model.clone(attention=attention, remat="attention")
    weights = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    plain = model.clone(attention="dense", remat="none")

    def packed(params):
        return jnp.sum(weights * logprobs.response_log_probs(model, params, batch))

    def separate(params):
        return jnp.sum(weights * sequences.log_probs(plain, params, examples))

    got, want = (jax.jit(jax.grad(f))(params) for f in (packed, separate))
    for (path, g), w in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True):
        bound = 2e-5 * np.abs(w).max()
        np.testing.assert_allclose(g, w, rtol=0, atol=bound, err_msg=jax.tree_util.keystr(path))


def copied(checkpoint, target, **fields):
    """A copy with other fields of config.json; None drops one."""
    shutil.copytree(checkpoint, target)
    config = json.loads((target / "config.json").read_text()) | fields
    config = {name: value for name, value in config.items() if value != "absent"}
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_transformers_4_config_is_read(checkpoint, tmp_path):
    """The bases apart, and the layers by a pattern."""
    older = copied(
        checkpoint,
        tmp_path / "older",
        rope_parameters="absent",
        rope_theta=50000.0,
        rope_local_base_freq=1000.0,
        rope_scaling={"factor": 4.0, "rope_type": "linear"},
        layer_types="absent",
        sliding_window_pattern=2,
    )
    config, want = read_config(older), read_config(checkpoint)
    assert config == want and want.windows == (7, None, 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ({"hidden_activation": "silu"}, "hidden_activation is 'silu'"),
        ({"query_pre_attn_scalar": 0}, "query_pre_attn_scalar: expected a positive number"),
        (
            {
                "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                    "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
                }
            },
            "only rope_type 'default' in layers with a sliding window",
        ),
        ({"sliding_window": None}, "sliding_window is null"),
    ],
)
def test_what_is_not_implemented_is_refused(fields, message, checkpoint, tmp_path):
    with pytest.raises(UnsupportedModelError, match=message):
        read_config(copied(checkpoint, tmp_path / "other", **fields))


@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
def test_layers_all_of_one_kind(kind, tmp_path):
    """Each with its own base; the export is read as the same by transformers."""
    reference = hf_models.build("gemma3", layer_types=[kind] * 3)
    reference.save_pretrained(tmp_path / "in")
    model, params = hf.load(tmp_path / "in")
    want = hf_models.logits(reference, TOKENS)
    got = model.apply({"params": params}, TOKENS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    hf.save(tmp_path / "out", model, params)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.config.layer_types == [kind] * 3
    np.testing.assert_array_equal(hf_models.logits(again, TOKENS), want)


@pytest.fixture(scope="module")
def wrapped(reference, tmp_path_factory):
    """A checkpoint of text and images, as transformers 5 writes it, and its model."""
    vision = SiglipVisionConfig(
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 16, "patch_size": 8},
    )
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config=reference.config,
        vision_config=vision,
        mm_tokens_per_image=4,
        eos_token_id=[1, 106],
    )
    model = Gemma3ForConditionalGeneration(config).eval()
    model.model.language_model.load_state_dict(reference.model.state_dict())
    model.tie_weights()
    directory = tmp_path_factory.mktemp("wrapped")
    model.save_pretrained(directory)
    return directory, model


@pytest.mark.parametrize("prefix", ["as written", "model.language_model.", "language_model.model."])
def test_the_text_of_a_checkpoint_with_images_is_read(prefix, reference, wrapped, tmp_path):
    """Under the names that versions of transformers gave, bit for bit; images are left alone."""
    directory = tmp_path / "in"
    shutil.copytree(wrapped[0], directory)
    file = directory / "model.safetensors"
    tensors = load_file(file)
    written = next(name for name in tensors if "embed_tokens" in name).partition("embed")[0]
    if prefix != "as written":
        tensors = {k.replace(written, prefix, 1): v for k, v in tensors.items()}
        save_file(tensors, file)
    assert sum("vision_tower" in name for name in tensors) > 3
    model, params = hf.load(directory)
    assert is_wrapped(directory) and model.config.eos_token_id == (1, 106)
    hf.save(tmp_path / "out", model, params)
    assert not is_wrapped(tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_an_adapter_of_such_a_checkpoint_is_for_its_text(wrapped, tmp_path):
    """PEFT puts it on the language model alone and finds every tensor; logits 1e-4 of largest."""
    directory, _ = wrapped
    lora = LoraConfig(rank=2)
    model, params = hf.load(directory)
    model = model.clone(lora=lora)
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)["lora"]
    rng = np.random.default_rng(1)
    tree = jax.tree.map(lambda x: jnp.float32(0.1 * rng.normal(size=x.shape)), shapes)
    adapter = tmp_path / "adapter"
    peft.save_adapter(adapter, model.config, lora, tree, str(directory), wrapped=True)
    base = AutoModelForCausalLM.from_pretrained(directory)
    theirs = torch_peft.PeftModel.from_pretrained(base, adapter)
    placed = [name for name, _ in theirs.named_parameters() if "lora_A" in name]
    assert len(placed) == 7 * 3 and all("language_model" in name for name in placed)
    want = hf_models.logits(theirs, TOKENS)
    got = model.apply(variables(LoraParams(params, tree)), TOKENS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    check_that_it_is_read_back(adapter, model, tree)


def check_that_it_is_read_back(adapter, model, tree):
    """Bit for bit, also under the names that transformers' modules had before, or of the text."""
    file = adapter / "adapter_model.safetensors"
    written = load_file(file)
    for prefix in ("model.language_model.", "language_model.model.", "model."):
        renamed = {k.replace("model.language_model.", prefix, 1): v for k, v in written.items()}
        save_file(renamed, file)
        lora, again = peft_reader.load_adapter(adapter, model.config)
        assert lora.scale == model.lora.scale and lora.names == model.lora.names
        jax.tree.map(np.testing.assert_array_equal, again, tree)


def test_a_wrapper_without_its_text_is_refused(wrapped, tmp_path):
    other = copied(wrapped[0], tmp_path / "other", text_config=None)
    with pytest.raises(UnsupportedModelError, match="text_config: expected an object"):
        read_config(other)
    other = copied(wrapped[0], tmp_path / "another", text_config={"model_type": "gemma2"})
    with pytest.raises(UnsupportedModelError, match=r"text_config\.model_type: expected 'gemma3_"):
        read_config(other)
