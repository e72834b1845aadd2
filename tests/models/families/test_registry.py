"""The registry: a family of someone else's, and the refusals."""

import pathlib

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from dignified_jax.models import families, partition
from dignified_jax.models.config import DecoderConfig, UnsupportedModelError
from dignified_jax.models.decoder import Decoder, abstract_params
from dignified_jax.models.families.family import Family
from dignified_jax.models.families.unsupported import MISSING
from dignified_jax.models.hf import names
from dignified_jax.models.hf.config import from_hf, to_hf
from dignified_jax.models.layers import MLP, Block
from dignified_jax.models.partition import Split

pytestmark = pytest.mark.wiring


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    monkeypatch.setattr(partition, "_SPLITS", dict(partition._SPLITS))


class GatedBlock(Block):
    """Llama's layer without attention, and a gate of its own on the network's output."""

    @nn.compact
    def __call__(self, x, rows, layer):
        gate = self.param("gate", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        return x + gate * MLP(self.config, self.dtype, self.lora, self.tensor, name="mlp")(x), None


FAMILY = Family(
    architecture="GatedForCausalLM",
    model_type="olmo",  # of those that transformers has a configuration for
    layer=GatedBlock,
    renamed={"mlp/up_proj": "feed_forward.w3"},
    splits={"layers/gate": Split(fsdp=1)},
    only={"clip_qkv": (None,)},
    read=lambda fields, where: {"sliding_window": fields["pad_token_id"]},
    reads=("pad_token_id",),
    write=lambda config: {"clip_qkv": None},
)
CONFIG = DecoderConfig("GatedForCausalLM", 64, 16, 24, 2, 2, 1, 8, 1e4)


def test_every_file_of_the_room_is_found():
    files = {f.stem for f in pathlib.Path(families.__file__).parent.glob("*.py")}
    found = {family.model_type for family in families.known()}
    assert found == files - {"__init__", "family", "unsupported"}
    assert found.isdisjoint(MISSING)


def test_a_family_from_outside_brings_its_layer_names_and_splits(registry):
    families.register(FAMILY)
    tokens = jnp.arange(12).reshape(2, 6)
    params = Decoder(CONFIG).init(jax.random.key(0), tokens)["params"]
    assert set(params["layers"]) == {"mlp", "gate"}
    assert Decoder(CONFIG).apply({"params": params}, tokens).shape == (2, 6, 64)
    tensors = {tensor.name: tensor for tensor in names.tensors(CONFIG)}
    assert tensors["model.layers.1.feed_forward.w3.weight"].leaf == "layers/mlp/up_proj/kernel"
    assert tensors["model.layers.1.feed_forward.w3.weight"].shape == (24, 16)
    path = next(
        p for p, _ in jax.tree.leaves_with_path(abstract_params(CONFIG)) if p[-1].key == "gate"
    )
    assert partition.split(path) == Split(fsdp=1)


def test_a_family_from_outside_reads_and_writes_its_fields(registry):
    families.register(FAMILY)
    fields = to_hf(CONFIG, "float32") | {"pad_token_id": 5}
    assert fields["model_type"] == "olmo" and "clip_qkv" in fields
    config = from_hf(fields)
    assert config.architecture == "GatedForCausalLM" and config.sliding_window == 5
    with pytest.raises(UnsupportedModelError, match="clip_qkv is 8"):
        from_hf(fields | {"clip_qkv": 8.0})


def test_what_is_taken_or_unknown_is_refused(registry):
    families.register(FAMILY)
    with pytest.raises(ValueError, match=r"GatedForCausalLM \(olmo\) is registered already"):
        families.register(FAMILY)
    with pytest.raises(ValueError, match="q_proj/kernel is split as"):
        partition.declare({"q_proj/kernel": Split(fsdp=2)})
    with pytest.raises(UnsupportedModelError, match="'NoneForCausalLM' is not supported"):
        Decoder(DecoderConfig("NoneForCausalLM", 64, 16, 24, 2, 2, 1, 8, 1e4)).init(
            jax.random.key(0), jnp.ones((1, 2), jnp.int32)
        )
