"""An objective and a controller defined outside the package: registered, configured, trained."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from dignified_jax.objectives import (
    METHODS,
    MODPO,
    SFT,
    LagDPO,
    MultiNegativeDPO,
    Objective,
    dpo,
    register,
)
from dignified_jax.objectives.duals.controllers import (
    CONTROLLERS,
    Ascent,
    Augmented,
    Controller,
    NuPI,
)
from dignified_jax.objectives.duals.signals import Window
from dignified_jax.objectives.duals.tolerances import Constant, Linear
from dignified_jax.registry import Registry
from dignified_jax.training import config as training_config
from dignified_jax.training import stages
from dignified_jax.training.run import continuation
from dignified_jax.training.run import directory as run_directory
from tests.oracles import command, tiny_run

pytestmark = pytest.mark.wiring

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


@CONTROLLERS.register
@dataclasses.dataclass(frozen=True)
class Step(Controller):
    """Adds `size` to a multiplier whose constraint is violated; sign ascent without descent."""

    size: float = 0.1

    name = "test_step"

    def step(self, state, multipliers, error):
        return state, multipliers + self.size * (error > 0)


def test_a_strangers_controller_is_configured_and_trained(root, tmp_path):
    """Every batch violates an epsilon of 0, so lambda is the size times those with it."""
    tiny = tiny_run.config(root, tmp_path)
    config = training_config.config_dict("lagdpo")
    config.workdir = str(tmp_path / "run")
    config.epochs, config.batch_size = 1, 3
    config.method.epsilon = (0.0,)
    config.method.schedule.name = "constant"
    config.method.controller = {"name": "test_step", "size": 0.25}
    config.model.update(path=tiny.model.path, compute_dtype="float32", remat="none")
    config.data.update(dataclasses.asdict(tiny.data))
    parsed = training_config.parse(config)
    assert parsed.method.controller == Step(0.25)
    stages.run(parsed)
    steps = [record for record in command.logged(tmp_path / "run") if "grad_norm" in record]
    for name in DIMENSIONS:
        batches = sum(f"loss/{name}" in step for step in steps)
        assert steps[-1][f"lambda/{name}"] == pytest.approx(0.25 * batches)
    written = json.loads((tmp_path / "run" / "config.json").read_text())["method"]
    assert written["controller"] == {"name": "test_step", "size": 0.25}


@pytest.mark.parametrize(
    ("old", "method"),
    [
        ({"dual_controller": "ascent", "dual_learning_rate": 0.3}, LagDPO(controller=Ascent(0.3))),
        (
            {"dual_controller": "nupi", "dual_learning_rate": 0.3, "nupi_smoothing": 0.5},
            LagDPO(controller=NuPI(0.3, smoothing=0.5)),
        ),
        (
            {
                "dual_controller": "augmented",
                "dual_learning_rate": 0.3,
                "dual_signal": "window",
                "dual_window": None,
            },
            LagDPO(controller=Augmented(0.3), signal=Window(10)),
        ),
        (
            {"epsilon_schedule": "linear", "epsilon_final": [0.2], "epsilon_steps": 7},
            LagDPO(schedule=Linear((0.2,), 7)),
        ),
        ({"epsilon_schedule": "constant", "epsilon_final": []}, LagDPO(schedule=Constant())),
    ],
)
def test_former_keys_of_a_run_directory_are_read(old, method, root, tmp_path):
    """config.json as it was written with flat keys is the same configuration; flags say where."""
    usual = {
        "dual_controller": "ascent",
        "dual_learning_rate": 1.0,
        "dual_signal": "batch",
        "epsilon_schedule": "adaptive",
        **dict.fromkeys(("nupi_proportional", "nupi_integral", "nupi_smoothing", "ema_decay")),
    }
    config = tiny_run.config(root, tmp_path, method=method)
    fields = run_directory.as_dict(config)
    for section in ("controller", "signal", "schedule"):
        del fields["method"][section]
    fields["method"] |= usual | old
    (tmp_path / "config.json").write_text(json.dumps(fields))
    before = continuation.read_config(tmp_path / "config.json")
    assert continuation.config_differences(before, config) == []
    with pytest.raises(ValueError, match=r"method.dual_controller is method.controller.name now"):
        training_config.parse({"method": {"name": "lagdpo", "dual_controller": "nupi"}})
