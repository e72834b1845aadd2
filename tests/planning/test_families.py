"""Plans of models with windows and experts, from configurations as they are published."""

import dataclasses
import json

import pytest

from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import LagDPO
from dignified_jax.planning import plan as planning
from dignified_jax.training.config import ModelConfig, TrainConfig
from dignified_jax.training.run import devices
from dignified_jax.training.step.sharding import MeshConfig
from tests.models.families.test_published import PUBLISHED


def plan(name, on, tmp_path, **changes):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]))
    config = TrainConfig(method=LagDPO(), model=ModelConfig(path=str(tmp_path)), **changes)
    return planning.make(config, *devices.parse(on), 8)


@pytest.mark.parametrize(
    ("name", "on", "attention"),
    [
        ("gemma-3-4b", "8xh100", "segments"),  # heads of 256 are wider than cuDNN takes everywhere
        ("gemma-3-27b", "8xh100", "cudnn"),
        ("gemma-3-27b", "8xv5p", "segments"),  # of layers with a window
        ("qwen3-30b-a3b", "8xv5p", "splash"),
        ("gemma-3-1b", "8xcpu", "blocks"),
    ],
)
def test_auto_stands_for_what_is_computed_there(name, on, attention, tmp_path):
    made = plan(name, on, tmp_path, mesh=MeshConfig())
    assert made.attention == attention
    narrow = dataclasses.replace(made.config.model, compute_dtype="float32")
    wide = dataclasses.replace(made, config=dataclasses.replace(made.config, model=narrow))
    assert wide.attention == ("segments" if attention == "cudnn" else attention)


def test_experts_are_split_over_all_devices(tmp_path):
    """30.53 billion parameters in float32, and two moments; experts over fsdp and tensor."""
    made = plan("qwen3-30b-a3b", "8xv5p", tmp_path, mesh=MeshConfig(fsdp=2, tensor=4))
    parts = made.moments["update"]
    assert parts.parameters == pytest.approx(30.53e9 * 4 / 8, rel=0.01)
    assert parts.optimizer == pytest.approx(2 * parts.parameters, rel=0.01)


def test_lora_of_experts_matrices_is_refused(tmp_path):
    lora = LoraConfig(rank=4, targets=("q_proj", "down_proj"))
    with pytest.raises(ValueError, match=r"lora\.targets: of Qwen3MoeForCausalLM.*'down_proj'"):
        plan("qwen3-30b-a3b", "8xv5p", tmp_path, lora=lora)
