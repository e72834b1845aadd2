"""An objective defined outside the package: registered, configured and trained, no file touched."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from dignified_jax.objectives import METHODS, MODPO, SFT, MultiNegativeDPO, Objective, dpo, register
from dignified_jax.registry import Registry
from dignified_jax.training import config as training_config
from dignified_jax.training import stages
from tests.oracles import command, tiny_run

DEVICES = 1
DIMENSIONS = ("A", "T", "E", "C")


@register
@dataclasses.dataclass(frozen=True)
class Hinge(Objective):
    """max(0, 1 - margin) averaged over pairs. `weights` weighs nothing that lies in the data."""

    beta: float = 0.1
    weights: tuple[float, ...] = (0.0,)
    responses: str = "golden"

    name = "test_hinge"

    def loss(self, batch, counts, state):
        slack = jax.nn.relu(1.0 - dpo.margins(batch.log_ratios, self.beta))
        losses = jnp.where(dpo.pair_mask(batch.mask), slack, 0.0).sum(axis=0)
        losses /= jnp.maximum(counts, 1.0)
        return losses.mean(), losses


def test_a_strangers_objective_is_configured_and_trained(root, tmp_path):
    """Its fields `weights` and `responses` drop no row: every dimension has the pairs of the rows.

    The first loss is that of an untrained policy, a hinge of 1 wherever there is a pair.
    """
    tiny = tiny_run.config(root, tmp_path)
    config = training_config.config_dict("test_hinge")
    config.workdir = str(tmp_path / "run")
    config.epochs, config.batch_size = 1, 3
    config.method.beta = 0.2
    config.model.update(path=tiny.model.path, compute_dtype="float32", remat="none")
    config.data.update(dataclasses.asdict(tiny.data))
    config.optimizer.learning_rate = 3e-4
    parsed = training_config.parse(config)
    assert parsed.method == Hinge(beta=0.2)
    result = stages.run(parsed)
    assert result["method"] == "test_hinge"
    steps = [record for record in command.logged(tmp_path / "run") if "grad_norm" in record]
    present = [f"loss/{name}" for name in DIMENSIONS if f"loss/{name}" in steps[0]]
    assert present and all(steps[0][name] == pytest.approx(1.0, abs=1e-6) for name in present)
    first, last = (
        load_file(directory / "model.safetensors")
        for directory in (root / "model", tmp_path / "run" / "export")
    )
    assert any(np.abs(first[name] - last[name]).max() > 1e-5 for name in last)
    written = json.loads((tmp_path / "run" / "config.json").read_text())["method"]
    assert written == {**dataclasses.asdict(parsed.method), "weights": [0.0], "name": "test_hinge"}
    pairs = {name: sum(step[f"pairs/{name}"] for step in steps) for name in DIMENSIONS}
    rows = tiny_run.records()[: tiny_run.TRAIN_ROWS]
    total = sum(len(row["mask"]) for row in rows)
    validation = [r for r in command.logged(tmp_path / "run") if "eval/pairs" in r][-1]
    assert sum(pairs.values()) + validation["eval/pairs"] == total


def test_trained_responses_by_hand():
    assert Hinge().trained_responses(DIMENSIONS) == ("golden", *DIMENSIONS)
    assert SFT().trained_responses(DIMENSIONS) == ("golden",)
    assert SFT(responses="all").trained_responses(DIMENSIONS) == ("golden", *DIMENSIONS)
    for kind in (MultiNegativeDPO, MODPO):
        chosen = kind(weights=(0.0, 2.0, 0.0, 1.0)).trained_responses(DIMENSIONS)
        assert chosen == ("golden", "T", "C")


def test_an_unknown_response_is_refused_by_name(root, tmp_path, monkeypatch):
    monkeypatch.setattr(Hinge, "trained_responses", lambda self, names: ("golden", "Z"))
    config = tiny_run.config(root, tmp_path, method=Hinge(), mesh__fsdp=1)
    with pytest.raises(ValueError, match=r"Hinge.trained_responses: expected 'golden' .*'Z'"):
        stages.run(config)


def test_registered_classes_are_listed_and_checked():
    registry = Registry("method", Objective)
    assert METHODS["test_hinge"] is Hinge and registry.register(Hinge) is Hinge
    assert list(registry) == ["test_hinge"] and registry.kind == "method"

    @dataclasses.dataclass(frozen=True)
    class Same(Objective):
        name = "test_hinge"

    with pytest.raises(ValueError, match="method Same: Hinge has the name 'test_hinge' already"):
        registry.register(Same)


@pytest.mark.parametrize(
    ("bases", "body", "message"),
    [
        ((), {"name": "x"}, "method Bad must inherit from Objective"),
        ((Objective,), {}, "method Bad needs a class attribute name"),
        ((Objective,), {"name": "x", "__annotations__": {"name": str}}, "name must be a class att"),
    ],
)
def test_unfit_classes_are_refused(bases, body, message):
    cls = dataclasses.dataclass(frozen=True)(type("Bad", bases, dict(body)))
    with pytest.raises(TypeError, match=message):
        Registry("method", Objective).register(cls)
    with pytest.raises(TypeError, match="must be a dataclass; put register above"):
        Registry("method", Objective).register(type("Plain", (Objective,), {"name": "x"}))
