"""What is another run and what is the same one, by files any of which may be gone or damaged."""

import dataclasses
import json
import pathlib
import shutil

import jax.numpy as jnp
import pytest

from dignified_jax.objectives import terms
from dignified_jax.training.config import ConfigError
from dignified_jax.training.run import checkpoint, continuation
from dignified_jax.training.step.sharding import MeshConfig
from dignified_jax.training.step.state import TrainState
from tests.oracles import tiny_run

INPUTS = {"model weights": "aa", "train rows": "bb"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run directory with one small checkpoint, and the run's configuration."""
    root = tmp_path_factory.mktemp("written")
    config = tiny_run.config(root, root / "run")
    workdir = root / "run"
    state = TrainState(
        step=jnp.int32(3), params={"norm": jnp.ones(2)}, opt_state=(), method_state=()
    )
    with checkpoint.open_manager(workdir / "checkpoints", keep=1) as manager:
        checkpoint.save(manager, state, run=continuation.as_run(config, INPUTS))
        checkpoint.finish(manager)
    continuation.write_config(workdir, config)
    continuation.check_inputs(workdir, INPUTS)
    (workdir / "metrics.jsonl").write_text('{"step": 1}\n')
    return workdir, config


@pytest.fixture
def copied(written, tmp_path):
    """It can be damaged."""
    shutil.copytree(written[0], tmp_path / "moved")
    return tmp_path / "moved", written[1]


def other(config, **changes):
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "inputs.json"])
@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"met', "7", "null"])
def test_a_damaged_file_lets_no_other_run_in(name, content, copied):
    workdir, config = copied
    if content is None:
        (workdir / name).unlink()
    else:
        (workdir / name).write_text(content)
    assert continuation.check_config(workdir, config) == []
    with pytest.raises(ConfigError, match=r"another configuration .*\n  seed: 0 there, 7 now$"):
        continuation.check_config(workdir, other(config, seed=7))
    with pytest.raises(ConfigError, match=r"other inputs .*\n  train rows: bb there, cc now$"):
        continuation.check_inputs(workdir, INPUTS | {"train rows": "cc"})
    continuation.check_inputs(workdir, INPUTS)


def test_a_config_put_in_place_of_another_is_not_trusted_alone(copied):
    workdir, config = copied
    continuation.write_config(workdir, other(config, seed=7))
    with pytest.raises(ConfigError, match=r"its newest checkpoint.*\n  seed: 0 there, 7 now"):
        continuation.check_config(workdir, other(config, seed=7))


def test_checkpoints_that_say_nothing_need_the_configuration(copied):
    """Those of older versions."""
    workdir, config = copied
    file = workdir / "checkpoints" / "3" / "checksum" / "metadata"
    file.write_text(json.dumps({"params": "0", "rest": "0"}))
    assert continuation.check_config(workdir, config) == []
    (workdir / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"neither they nor .* say"):
        continuation.check_config(workdir, config)


@pytest.mark.parametrize(
    "changes",
    [
        {"eval_every": 3, "checkpoint_every": 1, "checkpoints_to_keep": 9},
        {"workdir": "elsewhere", "compilation_cache": "cache"},
        {"model__path": "/another/place/", "data__train": "./t.jsonl", "data__test": "u.jsonl"},
        {"model__export_dtype": "bfloat16"},
    ],
    ids=str,
)
def test_harmless_changes_are_the_same_run(changes, copied):
    workdir, config = copied
    # What lies under another path is told by its digest.
    place = pathlib.Path(config.workdir)
    changed = tiny_run.config(place.parent, changes.pop("workdir", place), **changes)
    assert continuation.check_config(workdir, changed) == []


def test_paths_count_where_there_are_no_digests(copied):
    workdir, config = copied
    (workdir / "inputs.json").unlink()
    file = workdir / "checkpoints" / "3" / "checksum" / "metadata"
    file.write_text(json.dumps({"params": "0", "rest": "0"}))
    moved = other(config, model=other(config.model, path="/another/place"))
    with pytest.raises(ConfigError, match=r"model.path: .* there, /another/place now"):
        continuation.check_config(workdir, moved)


def test_what_rounds_otherwise_goes_on_with_a_note(copied):
    workdir, config = copied
    changed = other(config, mesh=MeshConfig(data=2, fsdp=2, tensor=2), rows_per_device=3)
    (note,) = continuation.check_config(workdir, changed)
    assert note.startswith("going on, though not bit for bit, as sums round otherwise: mesh.data")
    assert "mesh.data: 1 there, 2 now; mesh.tensor: 1 there, 2 now" in note
    assert note.endswith("rows_per_device: 1 there, 3 now")


def test_the_environment_is_noted(copied):
    workdir, _ = copied
    assert continuation.check_environment(workdir, {"jax": "1"}) == []
    assert continuation.check_environment(workdir, {"jax": "1"}) == []
    (note,) = continuation.check_environment(workdir, {"jax": "2", "host": "x"})
    assert note.endswith("host: (absent) there, x now; jax: 1 there, 2 now")
    (workdir / "environment.json").write_text("[]")
    assert continuation.check_environment(workdir, {"jax": "2"}) == []


def test_a_run_from_before_there_were_dimensions_goes_on(copied):
    workdir, config = copied
    file = workdir / "config.json"
    fields = json.loads(file.read_text())
    for name in ("dimensions", "weights", "format", "dimension"):
        del fields["data"][name]
    file.write_text(json.dumps(fields))
    shutil.rmtree(workdir / "checkpoints")
    assert continuation.check_config(workdir, config) == []
    data = other(config.data, dimensions=("A", "T", "C", "E"))
    with pytest.raises(ConfigError, match=r"data\.dimensions: \['A', 'T', 'E', 'C'\] there, \["):
        continuation.check_config(workdir, other(config, data=data))


def test_a_run_from_before_there_were_experts_goes_on(copied):
    workdir, config = copied
    file = workdir / "config.json"
    fields = json.loads(file.read_text())
    del fields["model"]["router_aux_loss_coef"]
    file.write_text(json.dumps(fields))
    shutil.rmtree(workdir / "checkpoints")
    assert continuation.check_config(workdir, config) == []


def test_a_run_from_before_there_were_shared_terms_goes_on(copied):
    workdir, config = copied
    file = workdir / "config.json"
    fields = json.loads(file.read_text())
    for name in terms.of(config.method):
        del fields["method"][name]
    file.write_text(json.dumps(fields))
    shutil.rmtree(workdir / "checkpoints")
    assert continuation.check_config(workdir, config) == []
    with pytest.raises(ConfigError, match=r"method\.golden_nll: 0\.0 there, 0\.5 now"):
        continuation.check_config(
            workdir, other(config, method=other(config.method, golden_nll=0.5))
        )


def test_a_run_whose_config_spells_the_default_test_rows_goes_on(copied):
    """Earlier versions wrote them out, also where own training rows left them unused."""
    workdir, config = copied
    embedded = "embedded:personaknob_mini/test.jsonl"
    theirs, none = (other(config, data=other(config.data, test=test)) for test in (embedded, None))
    continuation.write_config(workdir, theirs)
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "inputs.json").unlink()
    before = continuation.read_config(workdir / "config.json")
    assert continuation.check_config(workdir, none) == []
    assert continuation.config_differences(before, none) == []
    elsewhere = other(config, data=other(config.data, test="other.jsonl"))
    with pytest.raises(ConfigError, match=r"data\.test: "):
        continuation.check_config(workdir, elsewhere)
    continuation.write_config(workdir, elsewhere)
    with pytest.raises(ConfigError, match=r"data\.test: "):
        continuation.check_config(workdir, none)
