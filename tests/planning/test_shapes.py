"""The step's abstract arguments are those that a run puts on its devices."""

import jax
import pytest
from jax.sharding import AbstractMesh

from dignified_jax.data import DIMENSIONS
from dignified_jax.models.hf.config import read_config
from dignified_jax.planning import plan, shapes
from dignified_jax.training import run_context
from dignified_jax.training.step.state import init_state
from tests.oracles import tiny_run

DEVICES = 4


def described(tree):
    """Shape, dtype, and how a device's part is cut, of every leaf."""
    return {
        jax.tree_util.keystr(path): (leaf.shape, leaf.dtype, leaf.sharding.shard_shape(leaf.shape))
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


@pytest.mark.parametrize(
    ("reference", "rank"), [("resident", None), ("cached", None), ("resident", 4)]
)
def test_they_are_what_a_run_puts_on_its_devices(reference, rank, root, tmp_path):
    changes = {"mesh__data": 2, "mesh__fsdp": 2, "model__compute_dtype": "bfloat16"}
    changes |= {"model__attention": "auto"}
    config = tiny_run.config(root, tmp_path, reference=reference, lora__rank=rank, **changes)
    real = run_context.prepare(config, tmp_path, lambda line: None)
    _, inputs = real.inputs("train", 0)
    model = real.model
    state = init_state(model.params, config.method, len(DIMENSIONS), real.optimizer, model.mesh)

    mesh = AbstractMesh((2, 2, 1), ("data", "fsdp", "tensor"))
    shape = plan.shape_of(real.data.streams["train"], real.rows_per_step)
    geometry = read_config(root / "model")
    planned_state, planned = shapes.step_arguments(config, geometry, mesh, shape)
    assert described(planned_state) == described(state)
    assert type(planned.reference) is type(inputs.reference)
    for field in ("reference", "base", "batch"):
        assert described(getattr(planned, field)) == described(getattr(inputs, field))
    assert planned.batch.segment_block == inputs.batch.segment_block
    assert planned.rewards is inputs.rewards is None
    module = shapes.decoder(config, geometry, "blocks")
    assert module == model.module.clone(attention="blocks")
