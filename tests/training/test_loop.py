"""Whole runs of a few steps: what they write, how they go on, and how they stop."""

import json
import pathlib

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dignified_jax import data
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import params_checkpoint
from dignified_jax.objectives import LagDPO
from dignified_jax.objectives.duals.paced import PacedLinear
from dignified_jax.training import loop, run_context, split_evaluation
from dignified_jax.training.config import ConfigError
from dignified_jax.training.inputs import data as input_data
from dignified_jax.training.run import checkpoint, continuation
from dignified_jax.training.step import sharding
from tests.oracles import command, tiny_run

DEVICES = 2  # they make batches of several accumulation steps

STEPS = 6


@pytest.fixture(scope="module")
def finished(root):
    """A run that nothing disturbed, and its summary."""
    result = loop.run(tiny_run.config(root, root / "finished"))
    return root / "finished", result


def interrupted(config, error):
    """The error that ends a run."""
    with pytest.raises(error) as caught:
        loop.run(config)
    return caught.value


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def checkpointed(workdir, step):
    """Every array of a numbered checkpoint, by name."""
    import orbax.checkpoint as ocp

    arrays = {}
    for item in (checkpoint.PARAMS, checkpoint.REST):
        with ocp.PyTreeCheckpointer() as reader:
            tree = reader.restore(workdir / "checkpoints" / str(step) / item)
        leaves = jax.tree.leaves_with_path(tree)
        arrays |= {item + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return arrays


def assert_same_run(left, right):
    """The same metrics but for times, the same last checkpoint and export, bit for bit."""
    assert command.logged(left) == command.logged(right)
    one, two = checkpointed(left, STEPS), checkpointed(right, STEPS)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name, strict=True)
    weights = pathlib.Path("export") / "model.safetensors"
    assert (left / weights).read_bytes() == (right / weights).read_bytes()
    summaries = [json.loads((run / "summary.json").read_text()) for run in (left, right)]
    assert summaries[0] == summaries[1]


def test_a_run_takes_several_accumulation_steps(root, tmp_path):
    """Else the tests below would not see an error in how they are counted."""
    splits = input_data.prepare_data(tiny_run.config(root, tmp_path), tmp_path, rows_per_step=2)
    used = {
        int(input_data.accumulation_steps(splits.streams["train"], step, 2))
        for step in range(STEPS)
    }
    assert used == {1, 2}


def test_metrics_have_each_step_once_under_the_known_names(finished):
    workdir, _ = finished
    trained = [record for record in records(workdir) if "seconds" in record]
    evaluated = [record for record in records(workdir) if "seconds" not in record]
    assert [record["step"] for record in trained] == list(range(1, STEPS + 1))
    assert [record["step"] for record in evaluated] == [2, 4, 6]
    whole = {f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")}
    whole |= {"logps/chosen", "logps/rejected", "loss"}
    every = {name for record in trained for name in record}
    assert every >= whole | {f"{name}/{dimension}" for name in whole for dimension in "ATEC"}
    assert every >= {"grad_norm", "learning_rate", "epoch", "pairs"}
    golden = {"golden_nll", "golden_drift"}
    for record in trained:
        assert record.keys() >= whole | golden | {f"lambda/{dimension}" for dimension in "ATEC"}
    for record in evaluated:
        assert record.keys() >= {"eval/loss/A", "eval/rewards/accuracies/A", "eval/loss"}
        assert record.keys() >= {f"eval/{name}" for name in golden}
    assert trained[0]["golden_drift"] == pytest.approx(0.0, abs=1e-6)  # the reference itself
    assert 1.0 < trained[0]["golden_nll"] < 20.0
    assert not any("loss/C" in record for record in trained if record["pairs/C"] == 0)
    assert trained[0]["loss/A"] == pytest.approx(np.log(2.0), abs=1e-6)
    assert any(record["lambda/A"] > 0 for record in trained)
    assert trained[-1]["epoch"] == 2.0


def test_run_directory_holds_config_checkpoints_and_summary(finished):
    workdir, result = finished
    config = json.loads((workdir / "config.json").read_text())
    assert config["method"]["name"] == "lagdpo"
    assert config["method"]["epsilon"] == [0.4]
    assert config["optimizer"]["learning_rate"] == 3e-4
    # checkpoints_to_keep is 2
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    assert json.loads((workdir / "summary.json").read_text()) == result
    assert result["method"] == "lagdpo"
    assert result["step"] == STEPS
    losses = {name: row["loss"] for name, row in result["dimensions"].items()}
    assert result["worst"] == max(losses, key=losses.get)
    last = records(workdir)[-2]
    assert {k: row["lambda"] for k, row in result["dimensions"].items()} == {
        k: last[f"lambda/{k}"] for k in losses
    }


def test_export_is_the_last_checkpoint_and_generates(finished):
    workdir, _ = finished
    exported = AutoModelForCausalLM.from_pretrained(workdir / "export")
    tokenizer = AutoTokenizer.from_pretrained(workdir / "export")
    turns = [{"role": "user", "content": "Will it float?"}]
    inputs = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = exported.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert made.shape[1] > inputs["input_ids"].shape[1]
    model, _ = hf.load(workdir / "export")
    params = params_checkpoint.load_params(workdir / "checkpoints" / str(STEPS))
    ours = model.apply({"params": params}, inputs["input_ids"].numpy())
    with torch.no_grad():
        theirs = exported(**inputs).logits.numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # float32, 3 layers


def test_summary_equals_dpo_on_the_export_computed_by_transformers(finished, root):
    """Every held-out pair scored unpacked, one sequence at a time; rtol 1e-4."""
    workdir, result = finished
    models = [AutoModelForCausalLM.from_pretrained(p) for p in (workdir / "export", root / "model")]
    tokenizer = AutoTokenizer.from_pretrained(root / "model")
    examples, _ = data.encode(data.read_rows(root / "test.jsonl"), tokenizer)

    def log_ratio(prompt, response):
        ids = torch.as_tensor(np.concatenate([prompt, response]))[None].long()
        with torch.no_grad():
            policy, reference = (torch.log_softmax(m(ids).logits.double(), -1) for m in models)
        at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
        return float((policy - reference)[0, at, ids[0, len(prompt) :]].sum())

    margins = {dimension: [] for dimension in data.DIMENSIONS}
    for example in examples:
        ratios = [
            None if response is None else log_ratio(example.prompt, response)
            for response in example.responses
        ]
        for dimension, rejected in zip(data.DIMENSIONS, ratios[1:], strict=True):
            if rejected is not None:
                margins[dimension].append(0.1 * (ratios[0] - rejected))
    assert set(result["dimensions"]) == {name for name, values in margins.items() if values}
    for dimension, row in result["dimensions"].items():
        values = np.asarray(margins[dimension])
        assert row["pairs"] == len(values)
        np.testing.assert_allclose(row["margin"], values.mean(), rtol=1e-4)
        np.testing.assert_allclose(row["loss"], np.log1p(np.exp(-values)).mean(), rtol=1e-4)
        assert row["accuracy"] == (values > 0).mean()
        assert row["longer"] == 1.0  # "Sure, A 3." is shorter than every golden


class Interruption(RuntimeError):
    """Stands for a machine that goes away."""


def interrupt_progress(monkeypatch, step):
    show = loop.progress.Progress.step

    def stop(self, flat):
        if flat["step"] == step:
            raise Interruption
        show(self, flat)

    monkeypatch.setattr(loop.progress.Progress, "step", stop)


def interrupt_evaluation(monkeypatch, step):
    evaluate = split_evaluation.evaluate

    def stop(score_step, method, state, batches):
        if int(state.step) == step:
            raise Interruption
        return evaluate(score_step, method, state, batches)

    monkeypatch.setattr(split_evaluation, "evaluate", stop)


@pytest.mark.parametrize(
    ("interrupt", "step", "restored"),
    [
        (interrupt_progress, 1, None),  # before any checkpoint
        (interrupt_progress, 3, 2),  # between two
        (interrupt_evaluation, 4, 2),  # where an evaluation and a checkpoint are due
        (interrupt_evaluation, 6, 4),  # at the very end
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    interrupt, step, restored, finished, root, tmp_path, capsys
):
    config = tiny_run.config(root, tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, step)
        interrupted(config, Interruption)
    assert max(record["step"] for record in records(tmp_path / "run")) == step
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # a line that was being written
    half = tmp_path / "run" / "checkpoints" / "5.orbax-checkpoint-tmp"  # and a checkpoint
    (half / "params.orbax-checkpoint-tmp").mkdir(parents=True)
    capsys.readouterr()
    loop.run(config)
    said = [line for line in capsys.readouterr().out.splitlines() if "resuming" in line]
    assert [line.split(" from ")[0] for line in said] == (
        [] if restored is None else [f"resuming after step {restored}"]
    )
    assert_same_run(tmp_path / "run", finished[0])


def test_a_finished_run_takes_no_more_steps(finished, root, tmp_path, monkeypatch):
    workdir, result = finished
    before = (workdir / "metrics.jsonl").read_bytes()

    def no_step(*arguments):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(loop, "make_train_step", lambda *arguments: no_step)
    assert loop.run(tiny_run.config(root, workdir)) == result
    assert (workdir / "metrics.jsonl").read_bytes() == before


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_the_best_checkpoint_stays_and_is_exported(finished, root, tmp_path, capsys):
    """The first evaluation has the largest loss, so "max" of it is the one that would go."""
    config = tiny_run.config(
        root,
        tmp_path / "run",
        checkpoints_to_keep=1,
        best_metric="eval/loss/A",
        best_mode="max",
    )
    result = loop.run(config)
    losses = {r["step"]: r["eval/loss/A"] for r in records(tmp_path / "run") if "eval/loss" in r}
    assert max(losses, key=losses.get) == 2
    assert kept(tmp_path / "run") == [2, 6]
    assert result["step"] == 2
    params = hf.load(tmp_path / "run" / "export")[1]
    stored = params_checkpoint.load_params(tmp_path / "run" / "checkpoints" / "2")
    jax.tree.map(np.testing.assert_array_equal, params, stored)
    assert command.logged(tmp_path / "run") == command.logged(finished[0])
    assert "testing and exporting step 2, best by eval/loss/A" in capsys.readouterr().out
    assert loop.run(config) == result  # also when nothing is left to train


def test_the_best_is_the_least_unless_said_otherwise(root, tmp_path):
    config = tiny_run.config(
        root, tmp_path / "run", checkpoints_to_keep=1, best_metric="eval/loss/A"
    )
    assert loop.run(config)["step"] == STEPS
    assert kept(tmp_path / "run") == [STEPS]


def test_a_metric_that_validation_does_not_have_is_refused_at_once(root, tmp_path):
    """C has no pair in the validation split. The method may be configured in units of the run."""
    method = LagDPO(schedule=PacedLinear(final=(0.3,)))
    config = tiny_run.config(root, tmp_path / "run", method=method, best_metric="eval/loss/C")
    with pytest.raises(ConfigError, match=r"best_metric must be .*eval/loss/A.* 'eval/loss/C'"):
        loop.run(config)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
def test_a_mesh_of_all_axes_and_a_cached_reference_resume_bit_for_bit(root, tmp_path):
    """data 2, fsdp 2, tensor 2."""
    changes = {
        "mesh": sharding.MeshConfig(data=2, fsdp=2, tensor=2),
        "reference": "cached",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_context, "make_mesh", sharding.make_mesh)
        loop.run(tiny_run.config(root, tmp_path / "one", **changes))
        with pytest.MonkeyPatch.context() as inner:
            interrupt_progress(inner, 3)
            interrupted(tiny_run.config(root, tmp_path / "two", **changes), Interruption)
        loop.run(tiny_run.config(root, tmp_path / "two", **changes))
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_another_configuration_is_refused_and_the_difference_shown(finished, root):
    workdir, _ = finished
    before = (workdir / "config.json").read_bytes()
    changed = tiny_run.config(root, workdir, optimizer__learning_rate=1e-4, epochs=3)
    with pytest.raises(ConfigError) as error:
        loop.run(changed)
    assert "optimizer.learning_rate: 0.0003 there, 0.0001 now" in str(error.value)
    assert "epochs: 2 there, 3 now" in str(error.value)
    assert str(error.value).count("there,") == 2
    assert (workdir / "config.json").read_bytes() == before
    continuation.check_config(workdir, tiny_run.config(root, workdir, checkpoints_to_keep=5))


def test_nan_stops_with_step_and_rows_and_leaves_a_whole_checkpoint(finished, root, tmp_path):
    config = tiny_run.config(root, tmp_path / "run")

    class Poisoned(loop.CompiledFunction):
        def __call__(self, state, *rest):
            if int(state.step) == 3:
                state = state.replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params))
            return super().__call__(state, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CompiledFunction", Poisoned)
        error = interrupted(config, loop.NonFiniteError)
    splits = input_data.prepare_data(config, tmp_path, rows_per_step=2)
    assert str(error).startswith("step 4: the loss or its gradient is not finite (")
    assert "grad_norm=nan" in str(error)
    for index in splits.streams["train"].indices(3):
        assert repr(splits.train_prompts[index][:80]) in str(error)
    assert "checkpoint 2 in" in str(error) and "is whole" in str(error)
    assert max(record["step"] for record in records(tmp_path / "run")) == 3
    loop.run(config)
    assert_same_run(tmp_path / "run", finished[0])


def test_a_tokenizer_of_another_model_is_refused(root, tmp_path):
    """Its ids would reach beyond the embedding."""
    tiny_run.write_model(tmp_path / "model", vocab_size=200)
    config = tiny_run.config(root, tmp_path / "run", model__path=str(tmp_path / "model"))
    with pytest.raises(ConfigError, match=r"vocabulary has 200 entries; tokenizer and weights"):
        loop.run(config)


def test_a_row_length_that_nothing_fits_is_an_error(root, tmp_path):
    config = tiny_run.config(
        root, tmp_path / "run", data__row_length=8, data__on_too_long="truncate"
    )
    with pytest.raises(ConfigError, match=r"data.row_length 8 .*none of the 9 train rows fits"):
        loop.run(config)
