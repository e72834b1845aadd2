"""Preventive steering: which vectors become edits, of which steps, and what is refused."""

import dataclasses

import numpy as np
import pytest

from dignified_jax.models.checkpoint import vector_file
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from dignified_jax.training import config as training_config
from dignified_jax.training import loop, run_context
from dignified_jax.training.config import ConfigError
from dignified_jax.training.config.steering import SteeringConfig
from dignified_jax.training.inputs.steering import load_edits
from tests.oracles import tiny_run

pytestmark = pytest.mark.wiring
DEVICES = 2

VECTORS = np.random.default_rng(0).normal(size=(2, 3, 3, 48)).astype(np.float32)
A, E = (PersonaVector(name, *VECTORS[n], n + 1) for n, name in enumerate("AE"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    found = tmp_path_factory.mktemp("vectors") / "vectors.safetensors"
    vector_file.write(found, [A, E], {})
    return str(found)


@pytest.fixture(scope="module")
def context(root, file):
    steering = SteeringConfig(file, ("A:-2", "E:0.5"))
    config = dataclasses.replace(tiny_run.config(root, root / "run"), steering=steering)
    (root / "run").mkdir()
    return run_context.prepare(config, root / "run", print)


def test_train_steps_alone_are_steered(context):
    _, train = context.inputs("train", 0)
    want = np.zeros((3, 48), np.float32)
    want[1], want[2] = -2 * A.difference[1], 0.5 * E.difference[2]
    np.testing.assert_allclose(train.edits.added, want, rtol=1e-6)
    for split in ("validation", "test"):
        assert context.inputs(split, 0)[1].edits is None
    assert "steering vectors" in context.identity


def test_vectors_of_a_layer_add_up(context, file):
    config, mesh = context.model.module.config, context.model.mesh
    found = load_edits(SteeringConfig(file, ("A:1", "E:-1"), (0,)), config, mesh)
    np.testing.assert_allclose(found.added[0], A.difference[0] - E.difference[0], rtol=1e-5)
    assert not np.any(found.added[1:])
    assert load_edits(SteeringConfig(), config, mesh) is None
    with pytest.raises(ConfigError, match=r"steering.add: .* has A, E, found 'Z'"):
        load_edits(SteeringConfig(file, ("Z:1",)), config, mesh)
    with pytest.raises(ConfigError, match=r"steering.layers: expected 0 to 2, found 3"):
        load_edits(SteeringConfig(file, ("A:1",), (3,)), config, mesh)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"add": ("A:1",)}, "steering.add has no meaning without steering.vectors"),
        ({"layers": (1,)}, "steering.layers has no meaning without steering.vectors"),
        ({"vectors": "v"}, "steering.vectors needs steering.add"),
        ({"vectors": "v", "add": ("A",)}, "steering.add must be NAME:ALPHA, found 'A'"),
        ({"vectors": "v", "add": ("A:inf",)}, "steering.add must be NAME:ALPHA, found 'A:inf'"),
        ({"vectors": "v", "add": ("A:1", "A:2")}, "expected each name and layer once"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        training_config.parse({"method": {"name": "sft"}, "steering": fields})


@pytest.mark.slow
def test_a_run_learns_otherwise_and_is_tested_as_it_is(root, file):
    """A vector that is added takes part in what is learned, and not in the test."""
    results = {}
    for name, steering in (
        ("plain", SteeringConfig()),
        ("steered", SteeringConfig(file, ("A:3",))),
    ):
        config = tiny_run.config(root, root / name)
        results[name] = loop.run(dataclasses.replace(config, steering=steering, max_steps=2))
    weights = [(root / name / "export" / "model.safetensors").read_bytes() for name in results]
    assert weights[0] != weights[1]
    changed = dataclasses.replace(tiny_run.config(root, root / "plain"), max_steps=2)
    with pytest.raises(ConfigError, match="steering"):
        loop.run(dataclasses.replace(changed, steering=SteeringConfig(file, ("A:3",))))
    (root / "again").mkdir()
    again = tiny_run.config(root, root / "again", model__path=str(root / "steered" / "export"))
    context = run_context.prepare(dataclasses.replace(again, max_steps=2), root / "again", print)
    assert context.edits is None
