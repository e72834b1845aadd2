"""Checkpoints come back exact, on any mesh, and convert to Hugging Face without a bit lost."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dignified_jax import convert
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import checkpoint_index, literal_path, params_checkpoint
from dignified_jax.models.hf.config import read_config
from dignified_jax.objectives import LagDPO, ScoredBatch
from dignified_jax.objectives.duals.controllers import Ascent
from dignified_jax.objectives.duals.signals import Ema
from dignified_jax.objectives.duals.tolerances import Constant
from dignified_jax.training.run import checkpoint
from dignified_jax.training.step.optimizer import OptimizerConfig, make_optimizer
from dignified_jax.training.step.sharding import MeshConfig, make_mesh
from dignified_jax.training.step.state import TrainState, init_state
from tests.oracles import hf_models, tiny_run

pytestmark = pytest.mark.wiring

METHOD = LagDPO(schedule=Constant(), controller=Ascent(0.1), signal=Ema())
OPTIMIZER = make_optimizer(OptimizerConfig(learning_rate=1e-2, weight_decay=0.1), 10)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A Hugging Face directory with tokenizer and generation config."""
    directory = tmp_path_factory.mktemp("source")
    tiny_run.write_model(directory)
    return directory


def mesh(data, fsdp):
    return make_mesh(MeshConfig(data, fsdp), jax.devices()[: data * fsdp])


def state_at_start(source, mesh, dtype="float32"):
    _, params = hf.load(source, dtype, mesh)
    return init_state(params, METHOD, 4, OPTIMIZER, mesh)


@jax.jit
def stepped(state):
    """A step with made-up gradients and losses; no leaf keeps its first value."""
    leaves, tree = jax.tree.flatten(state.params)
    gradients = [jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape) for x in leaves]
    updates, opt_state = OPTIMIZER.update(
        jax.tree.unflatten(tree, gradients), state.opt_state, state.params
    )
    batch = ScoredBatch(jnp.zeros((1, 5)), jnp.ones((1, 5), bool), jnp.ones((1, 5), jnp.int32))
    losses, present = jnp.array([0.7, 0.2, 0.9, 0.0]), jnp.array([True, True, True, False])
    return state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
        method_state=METHOD.update(state.method_state, losses, present, batch),
    )


def assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for (path, one), two in zip(
        jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert one.dtype == two.dtype, name
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two), err_msg=name, strict=True)


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_whole_state_comes_back_exact_on_another_mesh(dtype, source, tmp_path):
    state = state_at_start(source, mesh(1, 4), dtype)
    with checkpoint.open_manager(tmp_path / "checkpoints", keep=2) as manager:
        for _ in range(3):
            state = stepped(state)
            checkpoint.save(manager, state)
        manager.wait_until_finished()
        assert manager.all_steps() == [2, 3]
    for shape in ((1, 4), (4, 2), (1, 1)):
        template = state_at_start(source, mesh(*shape), dtype)
        with checkpoint.open_manager(tmp_path / "checkpoints", keep=2) as manager:
            restored = checkpoint.restore(manager, template)
        assert_equal(restored, state)
        for new, like in zip(jax.tree.leaves(restored), jax.tree.leaves(template), strict=True):
            assert new.sharding.is_equivalent_to(like.sharding, new.ndim)


def test_restoring_takes_the_moments_and_the_multipliers(source, tmp_path):
    """Against a save that forgets a part: nothing of a fresh state may be left."""
    fresh = state_at_start(source, mesh(1, 4))
    state = stepped(state_at_start(source, mesh(1, 4)))
    with checkpoint.open_manager(tmp_path, keep=1) as manager:
        checkpoint.save(manager, state)
        manager.wait_until_finished()
        restored = checkpoint.restore(manager, fresh)
    assert int(restored.step) == 1
    moments = optax.tree.get(restored.opt_state, "mu")
    assert all(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(moments))
    np.testing.assert_allclose(
        restored.method_state.multipliers, [0.02, 0.0, 0.04, 0.0], rtol=1e-5
    )  # 0.1 (loss - 0.5), at least 0
    np.testing.assert_allclose(restored.method_state.memory.weight, [0.1, 0.1, 0.1, 0.0], rtol=1e-5)


@pytest.fixture
def numbered(source, tmp_path):
    """A run directory with checkpoints 9 and 10, the second of other weights."""
    state = state_at_start(source, mesh(1, 1)).replace(step=jnp.int32(8))
    with checkpoint.open_manager(tmp_path / "run" / "checkpoints", keep=2) as manager:
        for _ in range(2):
            state = stepped(state)
            checkpoint.save(manager, state)
        manager.wait_until_finished()
    params_checkpoint.copy_model_files(source, tmp_path / "run" / "model")
    return tmp_path / "run", state


def test_find_takes_whatever_a_person_points_at(numbered, source, tmp_path):
    run, _ = numbered
    checkpoints, model = run / "checkpoints", run / "model"
    assert params_checkpoint.find(run) == (checkpoints / "10", model)  # 10 is after 9
    assert params_checkpoint.find(str(checkpoints)) == (checkpoints / "10", model)
    assert params_checkpoint.find(checkpoints / "9") == (checkpoints / "9", model)
    bare = tmp_path / "bare"
    params_checkpoint.save_params(bare, hf.load(source)[1])
    params_checkpoint.copy_model_files(source, bare / "model")
    assert params_checkpoint.find(bare) == (bare, bare / "model")


def test_a_save_under_way_is_measured_on_disk(source, tmp_path):
    state = state_at_start(source, mesh(1, 1))
    with checkpoint.open_manager(tmp_path / "run", keep=2) as manager:
        look = checkpoint.watched(manager, state)
        total = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        assert look() == (0, total)
        half = tmp_path / "run" / "7.orbax-checkpoint-tmp" / "params"
        half.mkdir(parents=True)
        (half / "a").write_bytes(b"x" * 1000)
        assert look() == (1000, total)


def test_find_says_what_is_missing(numbered, tmp_path):
    run, _ = numbered
    with pytest.raises(params_checkpoint.CheckpointError, match="nowhere: no such directory"):
        params_checkpoint.find(tmp_path / "nowhere")
    (tmp_path / "empty" / "checkpoints" / "3").mkdir(parents=True)
    with pytest.raises(
        params_checkpoint.CheckpointError, match=r"empty: no checkpoint; expected params/"
    ):
        params_checkpoint.find(tmp_path / "empty")
    (run / "model" / "config.json").unlink()
    with pytest.raises(
        params_checkpoint.CheckpointError, match=r"no config\.json found in .*run/model"
    ):
        params_checkpoint.find(run)


def test_a_bare_checkpoint_is_not_overwritten(source, tmp_path):
    params = hf.load(source)[1]
    params_checkpoint.save_params(tmp_path / "bare", params)
    with pytest.raises(params_checkpoint.CheckpointError, match="exists already"):
        params_checkpoint.save_params(tmp_path / "bare", params)


# TensorStore forgets its other reads when one fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damaged", ["_METADATA", "manifest.ocdbt", "largest"])
def test_damaged_checkpoints_are_refused(damaged, source, tmp_path):
    with pytest.raises(
        params_checkpoint.CheckpointError, match="nowhere/params: cannot be restored"
    ):
        params_checkpoint.load_params(tmp_path / "nowhere")
    params_checkpoint.save_params(tmp_path / "bare", hf.load(source)[1])
    paths = [path for path in (tmp_path / "bare").rglob("*") if path.is_file()]
    largest = max(paths, key=lambda path: path.stat().st_size)
    file = largest if damaged == "largest" else tmp_path / "bare" / "params" / damaged
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(params_checkpoint.CheckpointError, match="bare/params: cannot be restored"):
        params_checkpoint.load_params(tmp_path / "bare")


def test_a_damaged_training_checkpoint_is_refused(source, tmp_path):
    state = state_at_start(source, mesh(1, 2))
    with checkpoint.open_manager(tmp_path, keep=1) as manager:
        checkpoint.save(manager, state)
        manager.wait_until_finished()
        (tmp_path / "0" / "rest" / "_METADATA").unlink()
        with pytest.raises(params_checkpoint.CheckpointError, match="/0: cannot be restored"):
            checkpoint.restore(manager, state)


def test_a_whole_checkpoint_of_another_state_is_not_called_damaged(tmp_path):
    """Earlier versions had Adam's second moment in the parameters' dtype."""

    def state(second, size=3):
        moments = {"mu": jnp.ones(2), "nu": {"a": jnp.ones((2, 3), second)}}
        return TrainState(jnp.int32(7), {"w": jnp.ones(size)}, (moments,), ())

    with checkpoint.opened(tmp_path, keep=1) as manager:
        checkpoint.save(manager, state(jnp.bfloat16))
        checkpoint.finish(manager)
    message = (
        r"/7: holds another optimiser state: opt_state/0/nu/a: expected float32\[2, 3\], found "
        r"bfloat16\[2, 3\]\. It is whole"
    )
    with (
        pytest.raises(checkpoint.OtherStateError, match=message) as caught,
        checkpoint.opened(tmp_path, keep=1) as manager,
    ):
        checkpoint.restore(manager, state(jnp.float32))
    assert "delete" not in str(caught.value) and not hasattr(caught.value, "__notes__")
    with checkpoint.opened(tmp_path, keep=1) as manager:
        with pytest.raises(checkpoint.OtherStateError, match=r"set of parameters: w: .*\[4\], f"):
            checkpoint.restore(manager, state(jnp.bfloat16, 4))
        other = state(jnp.bfloat16).replace(method_state={"mean": jnp.ones(1)})
        with pytest.raises(checkpoint.OtherStateError, match=r"method_state/mean: .*found nothing"):
            checkpoint.restore(manager, other)
        assert_equal(checkpoint.restore(manager, state(jnp.bfloat16)), state(jnp.bfloat16))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen3-tied", "llama3.1"])
def test_there_and_back_is_bit_identical(family, dtype, tmp_path, capsys):
    source = tmp_path / "source"
    tiny_run.write_model(source)  # for the tokenizer
    original = hf_models.build(family, vocab_size=320).to(getattr(torch, dtype))
    original.save_pretrained(source)
    arguments = ["to-orbax", "--hf", str(source), "--out", str(tmp_path / "bare")]
    assert convert.main(arguments) == 0
    arguments = ["to-hf", "--checkpoint", str(tmp_path / "bare"), "--out", str(tmp_path / "back")]
    assert convert.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / 'back'}"
    before, after = (load_file(d / "model.safetensors") for d in (source, tmp_path / "back"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name, strict=True)
    kept = ("tokenizer.json", "chat_template.jinja")
    for name in (*kept, "generation_config.json"):
        assert files(source)[name] == files(tmp_path / "back")[name], name
    assert read_config(source) == read_config(tmp_path / "back")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "back").dtype == original.dtype
    tokenizers = [AutoTokenizer.from_pretrained(d) for d in (source, tmp_path / "back")]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    assert tokenizers[0].chat_template == tokenizers[1].chat_template


def test_a_training_checkpoint_converts_to_its_params(numbered, source, tmp_path):
    run, state = numbered
    arguments = ["to-hf", "--checkpoint", str(run), "--out", str(tmp_path / "hf")]
    assert convert.main(arguments) == 0
    assert_equal(hf.load(tmp_path / "hf", dtype=None)[1], state.params)
    older = str(run / "checkpoints" / "9")
    assert convert.main(["to-hf", "--checkpoint", older, "--out", str(tmp_path / "nine")]) == 0
    nine = hf.load(tmp_path / "nine")[1]["norm"]["scale"]
    assert not np.array_equal(nine, state.params["norm"]["scale"])


def test_a_sharded_training_checkpoint_converts_on_one_device(source, tmp_path):
    state = stepped(state_at_start(source, mesh(1, 4)))
    with checkpoint.open_manager(tmp_path / "run" / "checkpoints", keep=1) as manager:
        checkpoint.save(manager, state)
        manager.wait_until_finished()
    params_checkpoint.copy_model_files(source, tmp_path / "run" / "model")
    params = params_checkpoint.load_params(params_checkpoint.find(tmp_path / "run")[0])
    assert_equal(params, state.params)
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(params)} == {1}


def test_the_dtype_asked_for_is_written(source, tmp_path):
    bare = str(tmp_path / "bare")
    assert convert.main(["to-orbax", "--hf", str(source), "--out", bare, "--dtype=bfloat16"]) == 0
    assert convert.main(["to-hf", "--checkpoint", bare, "--out", str(tmp_path / "hf")]) == 0
    assert hf.stored_dtype(tmp_path / "hf") == "bfloat16"
    fields = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert fields["dtype"] == fields["torch_dtype"] == "bfloat16"
    wide = str(tmp_path / "wide")
    assert convert.main(["to-hf", "--checkpoint", bare, "--out", wide, "--dtype=float32"]) == 0
    assert hf.stored_dtype(wide) == "float32"


@pytest.mark.parametrize("name", ["seed=[0]", "star*", "**", "[half", "q?", "100%25 #1"])
def test_a_directory_may_have_any_name(name, source, tmp_path):
    """Orbax looks for parts with patterns, in which a sibling's name must not count either."""
    (tmp_path / "star-sibling").mkdir()
    state = stepped(state_at_start(source, mesh(1, 1)))
    directory = tmp_path / name / "checkpoints"
    with checkpoint.opened(directory, keep=1) as manager:
        checkpoint.save(manager, state)
        checkpoint.finish(manager)
        assert_equal(checkpoint.restore(manager, state), state)
    assert_equal(
        params_checkpoint.load_params(params_checkpoint.newest_in(tmp_path / name)), state.params
    )
    assert [path.name for path in directory.iterdir()] == ["1"]  # the probe left nothing


def test_a_directory_that_holds_no_checkpoint_is_refused_at_once(tmp_path):
    """TensorStore takes a backslash for a separator, and writes elsewhere."""
    with (
        pytest.raises(params_checkpoint.CheckpointError, match="cannot be used for checkpoints: "),
        checkpoint.opened(tmp_path / "back\\slash" / "checkpoints", keep=1),
    ):
        pytest.fail("opened")


def test_a_checkpoint_without_all_its_arrays_replaces_none(source, tmp_path, monkeypatch):
    """Its index is read before it has its name, and before the older one goes."""
    state = stepped(state_at_start(source, mesh(1, 1)))
    with checkpoint.open_manager(tmp_path, keep=1) as manager:
        checkpoint.save(manager, state)
        checkpoint.finish(manager)
    with monkeypatch.context() as patch:  # Orbax finds no parts to make the index of
        patch.setattr(literal_path.LiteralPath, "glob", lambda self, pattern: iter(()))
        with (
            pytest.raises(params_checkpoint.CheckpointError, match="cannot be written: "),
            checkpoint.opened(tmp_path, keep=1) as manager,
        ):
            checkpoint.save(manager, stepped(state))
            checkpoint.finish(manager)
    assert params_checkpoint.newest_in(tmp_path).name == "1"
    with checkpoint.open_manager(tmp_path, keep=1) as manager:
        assert_equal(checkpoint.restore(manager, state), state)


def test_an_index_that_lacks_an_array_is_refused(source, tmp_path):
    params = hf.load(source)[1]
    params_checkpoint.save_params(tmp_path, params)
    expected = checkpoint_index.arrays(params)
    checkpoint_index.verify(tmp_path / "params", expected)
    with pytest.raises(ValueError, match=r"index names (\d+) of (\d+) arrays; .* is int8\[7\]$"):
        checkpoint_index.verify(tmp_path / "params", [*expected, "int8[7]"])


def test_damage_names_a_checkpoint_that_is_whole(numbered):
    run, state = numbered
    with checkpoint.open_manager(run / "checkpoints", keep=2) as manager:
        (run / "checkpoints" / "10" / "rest" / "_METADATA").unlink()
        with pytest.raises(checkpoint.DamagedError, match=r"delete it to go on from 9$"):
            checkpoint.restore(manager, state)
        (run / "checkpoints" / "9" / "params" / "manifest.ocdbt").unlink()
        with pytest.raises(checkpoint.DamagedError, match=r"no other is whole$"):
            checkpoint.restore(manager, state)


def test_converting_touches_no_file_of_others(source, tmp_path, capsys):
    params_checkpoint.save_params(tmp_path / "bare", hf.load(source)[1])
    params_checkpoint.copy_model_files(source, tmp_path / "bare" / "model")
    out = tmp_path / "out"
    out.mkdir()
    mine = {"model_ema.safetensors": b"ema", "model-of-my-thesis.safetensors": b"thesis"}
    for name, content in mine.items():
        (out / name).write_bytes(content)
    arguments = ["to-hf", "--checkpoint", str(tmp_path / "bare"), "--out", str(out)]
    assert convert.main(arguments) == 1
    assert "is not empty (it has model" in capsys.readouterr().err
    assert files(out) == mine
    for _ in range(2):
        assert convert.main([*arguments, "--overwrite"]) == 0
        assert mine.items() <= files(out).items()
        assert_equal(hf.load(out)[1], hf.load(source)[1])
    (tmp_path / "theirs").mkdir()
    shutil.copyfile(out / "model.safetensors", tmp_path / "theirs" / "model.safetensors")
    before = files(tmp_path / "theirs")
    assert convert.main([*arguments[:-1], str(tmp_path / "theirs"), "--overwrite"]) == 1
    assert "was not written by an earlier export" in capsys.readouterr().err
    assert files(tmp_path / "theirs") == before


def test_converting_into_a_run_directory_leaves_the_run(numbered, capsys):
    run, _ = numbered
    (run / "config.json").write_text("the run's")
    before = files(run / "model") | files(run / "checkpoints" / "10" / "params")
    arguments = ["to-hf", "--checkpoint", str(run), "--out", str(run), "--overwrite"]
    assert convert.main(arguments) == 1
    assert f"{run / 'config.json'}: was not written by" in capsys.readouterr().err
    assert (run / "config.json").read_text() == "the run's"
    assert files(run / "model") | files(run / "checkpoints" / "10" / "params") == before
    assert convert.main(["to-orbax", "--hf", str(run / "model"), "--out", str(run)]) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_metric_that_is_nan_is_never_the_best(mode, tmp_path):
    """Nor is the best one deleted for it."""
    one = jnp.ones(2)
    with checkpoint.opened(tmp_path, 1, best_metric="m", best_mode=mode) as manager:
        for step, value in enumerate((0.5, math.nan, 0.7, math.nan), 1):
            state = TrainState(jnp.asarray(step, jnp.int32), {"w": one}, {"m": one}, {"l": one})
            checkpoint.save(manager, state, {"m": value})
        checkpoint.finish(manager)
        best = {"min": 1, "max": 3}[mode]
        assert (manager.best_step(), list(manager.all_steps())) == (best, [best, 4])
