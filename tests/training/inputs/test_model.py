"""What a configuration asks of a model that has it not."""

import jax
import pytest

from dignified_jax.objectives import SFT
from dignified_jax.training.config import ConfigError, ModelConfig, TrainConfig
from dignified_jax.training.inputs.model import prepare_model
from dignified_jax.training.step.sharding import MeshConfig, make_mesh


def test_a_balance_loss_without_experts_is_refused():
    config = TrainConfig(method=SFT(), model=ModelConfig(router_aux_loss_coef=0.1))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with pytest.raises(ConfigError, match=r"is 0\.1, but Qwen3ForCausalLM has no experts"):
        prepare_model(config, mesh)


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigError, match=r"model\.router_aux_loss_coef must be at least 0"):
        ModelConfig(router_aux_loss_coef=-0.1)
