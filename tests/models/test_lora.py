"""LoRA against PEFT in PyTorch: logits, gradients, and files in both directions of a merge."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import peft as torch_peft
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from dignified_jax.models import hf
from dignified_jax.models.decoder import Decoder, abstract_params
from dignified_jax.models.hf import peft
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraConfig, LoraParams, variables
from tests.oracles import hf_models

pytestmark = pytest.mark.wiring

TOKENS = np.random.default_rng(0).integers(0, 131, (2, 12))
CASES = {
    "llama3": LoraConfig(rank=3),
    "llama3.2": LoraConfig(rank=4, alpha=6.0, targets=("v_proj", "q_proj", "down_proj")),
    "qwen3": LoraConfig(rank=5, alpha=7.5, rslora=True, targets=("o_proj", "k_proj", "gate_proj")),
    "qwen3-tied": LoraConfig(rank=2, alpha=3.0, rslora=True),
    "qwen2.5": LoraConfig(rank=3),
    "gemma3": LoraConfig(rank=3),
    "qwen3-moe": LoraConfig(rank=3),  # beside the attention's matrices alone
}


class Case:
    """A base on disk, random LoRA on it, and the same as PEFT makes it of our adapter."""

    def __init__(self, family, root):
        self.lora = CASES[family]
        hf_models.build(family, scale=2.0).save_pretrained(root / "base")
        self.base = root / "base"
        model, self.params = hf.load(self.base)
        self.model = model.clone(lora=self.lora, remat="none", attention="dense")
        shapes = jax.eval_shape(self.model.init, jax.random.key(0), TOKENS)["lora"]
        experts = model.config.experts is not None
        self.names = self.lora.names[:4] if experts else self.lora.names
        rng = np.random.default_rng(1)
        # s A B has entries of 0.05, as the base's kernels have.
        size = (0.05 / (self.lora.scale * self.lora.rank**0.5)) ** 0.5
        self.tree = jax.tree.map(lambda x: jnp.float32(size * rng.normal(size=x.shape)), shapes)
        self.adapter = root / "adapter"
        arguments = (model.config, self.lora, self.tree, str(self.base))
        peft.save_adapter(self.adapter, *arguments)
        base = AutoModelForCausalLM.from_pretrained(self.base)
        self.theirs = torch_peft.PeftModel.from_pretrained(base, self.adapter, is_trainable=True)

    def logits(self, params, lora):
        return jax.jit(self.model.apply)(variables(LoraParams(params, lora)), TOKENS)


SLOW = ("llama3", "qwen3-tied")  # the other two have the same parts


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=pytest.mark.slow if f in SLOW else ()) for f in CASES],
)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp("lora"))


def test_peft_loads_the_adapter_and_gives_our_logits(case):
    """1e-5 of logits of some units, and far from the base's."""
    got = np.asarray(case.logits(case.params, case.tree))
    want = hf_models.logits(case.theirs, TOKENS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    without = Decoder(case.model.config).apply({"params": case.params}, TOKENS)
    assert np.abs(got - without).max() > 0.1


def test_the_merged_export_has_the_adapters_logits(case, tmp_path):
    peft.save_merged(tmp_path / "merged", case.base, case.lora, case.tree)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    want = hf_models.logits(case.theirs, TOKENS)
    np.testing.assert_allclose(hf_models.logits(merged, TOKENS), want, rtol=0, atol=1e-5)
    before, after = (load_file(d / "model.safetensors") for d in (case.base, tmp_path / "merged"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        module, kind = name.split(".")[-2:]
        changed = module in case.names and kind == "weight"
        assert changed != np.array_equal(value, after[name]), name


def test_gradients_are_pefts(case):
    """Of a random linear function of the log-probs; 1e-5 of each leaf's largest entry.

    5e-5 with biases or norms of some units, which make scores and their rounding larger.
    """
    large = case.model.config.architecture in ("Qwen2ForCausalLM", "Gemma3ForCausalLM")
    tolerance = 5e-5 if large else 1e-5
    weights = np.random.default_rng(2).normal(size=(2, 12, 131)).astype(np.float32)

    def ours(lora):
        return jnp.sum(weights * jax.nn.log_softmax(case.logits(case.params, lora)))

    got = jax.jit(jax.grad(ours))(case.tree)["layers"]
    case.theirs.zero_grad()
    scores = case.theirs(torch.as_tensor(TOKENS)).logits.log_softmax(-1)
    (scores * torch.as_tensor(weights)).sum().backward()
    seen = 0
    for name, parameter in case.theirs.named_parameters():
        if parameter.grad is None:
            continue
        _, layer, part, module, leaf = name.removesuffix(".default.weight").rsplit(".", 4)
        mine = np.asarray(got[part][module][leaf.lower()][int(layer)]).T
        want = parameter.grad.numpy()
        np.testing.assert_allclose(mine, want, rtol=0, atol=tolerance * np.abs(want).max())
        seen += 1
    assert seen == 2 * len(case.names) * case.model.config.num_layers


def test_the_adapter_names_its_base_and_its_scale(case):
    fields = json.loads((case.adapter / "adapter_config.json").read_text())
    assert fields["base_model_name_or_path"] == str(case.base)
    assert sorted(fields["target_modules"]) == sorted(case.names)
    root = math.sqrt(case.lora.rank) if case.lora.rslora else case.lora.rank
    assert case.lora.scale == pytest.approx((case.lora.alpha or 32) / root)
    layer = case.theirs.base_model.model.model.layers[0].self_attn
    modules = [getattr(layer, name) for name in case.lora.names if hasattr(layer, name)]
    assert {module.scaling["default"] for module in modules} == {case.lora.scale}


def test_without_a_rank_there_is_no_trace_of_it(tiny_directory):
    """No variable and no product more than the seven of a layer, attention's and the head's."""
    tokens = jnp.zeros((1, 2), jnp.int32)
    products = []
    for lora in (LoraConfig(), LoraConfig(rank=8, targets=("q_proj",))):
        model = Decoder(read_config(tiny_directory), attention="dense", lora=lora)
        shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
        assert set(shapes) == ({"params", "lora"} if lora.enabled else {"params"})
        params = jax.tree.map(lambda x: x.shape, shapes["params"])
        assert params == jax.tree.map(lambda x: x.shape, abstract_params(model.config))
        products.append(str(jax.make_jaxpr(model.apply)(shapes, tokens)).count("dot_general"))
    assert products == [7 + 2 + 1, 7 + 2 + 1 + 2]


def test_the_base_is_not_overwritten(case):
    before = (case.base / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="is the base that is to be merged with"):
        peft.save_merged(case.base, case.base, case.lora, case.tree)
    assert (case.base / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "lora.rank must be at least 1, found 0"),
        ({"rank": 4, "alpha": 0.0}, "lora.alpha must be positive, found 0.0"),
        ({"rank": 4, "alpha": float("nan")}, "lora.alpha must be a number, found nan"),
        ({"rank": 4, "targets": ("q_proj", "lm_head")}, "lora.targets must be of q_proj, .*'lm_he"),
        ({"rank": 4, "targets": ("q_proj", "q_proj")}, "lora.targets must name each once"),
        ({"alpha": 16.0}, "lora.alpha has no meaning without lora.rank"),
        ({"targets": ("q_proj",)}, "lora.targets has no meaning without lora.rank"),
        ({"rslora": True}, "lora.rslora has no meaning without lora.rank"),
    ],
)
def test_what_makes_no_sense_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**fields)


@pytest.mark.parametrize(
    ("lora", "scale"),
    [
        (LoraConfig(rank=16), 2.0),
        (LoraConfig(rank=16, rslora=True), 8.0),
        (LoraConfig(rank=4, alpha=2), 0.5),
        (LoraConfig(rank=4, alpha=2.0, rslora=True), 1.0),
    ],
)
def test_scales(lora, scale):
    assert lora.scale == scale
