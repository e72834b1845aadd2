"""Whole runs on LoRA: what they keep, how they go on, and what their checkpoints become."""

import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import peft as torch_peft
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from dignified_jax import convert
from dignified_jax.models import hf
from dignified_jax.models.checkpoint import params_checkpoint
from dignified_jax.models.hf.config import read_config
from dignified_jax.models.lora import LoraConfig
from dignified_jax.objectives import SACPO
from dignified_jax.training import config as training_config
from dignified_jax.training import loop, split_evaluation, stages
from dignified_jax.training.config import ConfigError
from dignified_jax.training.run import checkpoint
from tests.oracles import command, hf_models, tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 1
WEIGHTS, ADAPTER = "export/model.safetensors", "export_adapter/adapter_model.safetensors"
TOKENS = np.random.default_rng(0).integers(0, 320, (2, 12))


def configuration(root, workdir, **changes):
    lora = {"lora__rank": 2, "lora__rslora": True, "optimizer__learning_rate": 3e-3}
    return tiny_run.config(root, workdir, mesh__fsdp=1, **lora | changes)


@pytest.fixture(scope="module")
def finished(root):
    """A run that nothing disturbed."""
    loop.run(configuration(root, root / "finished"))
    return root / "finished"


def test_it_begins_at_log_2_and_learns(finished):
    trained = [record for record in command.logged(finished) if "grad_norm" in record]
    assert trained[0]["loss/A"] == pytest.approx(np.log(2.0), abs=1e-6)
    assert trained[-1]["loss"] < 0.69 and trained[0]["rewards/margins"] == 0
    evaluated = [record for record in command.logged(finished) if "eval/loss" in record]
    assert evaluated[-1]["eval/loss"] != evaluated[0]["eval/loss"]


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(finished, root, tmp_path, monkeypatch):
    evaluate, calls = split_evaluation.evaluate, []

    def stop(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("stopped in the evaluation after step 4")
        return evaluate(*arguments)

    config = configuration(root, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(split_evaluation, "evaluate", stop)
        with pytest.raises(RuntimeError, match="after step 4"):
            loop.run(config)
    assert not (tmp_path / "run" / "export").exists()
    loop.run(config)
    command.assert_equal(tmp_path / "run", finished)
    assert (tmp_path / "run" / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()


def test_checkpoints_hold_lora_alone(finished, root):
    """LoRA and its moments; on disk less than the base (whole ones are three times that)."""
    found, _ = params_checkpoint.find(finished)
    leaves = jax.tree.leaves_with_path(params_checkpoint.load_params(found))
    assert {path[-1].key for path, _ in leaves} == {"lora_a", "lora_b"}
    config = read_config(root / "model")
    query, key = (n * config.head_dim for n in (config.num_heads, config.num_kv_heads))
    sides = 7 * config.hidden_size + 2 * query + 2 * key + 3 * config.intermediate_size
    count = 2 * sides * config.num_layers  # rank 2
    assert sum(leaf.size for _, leaf in leaves) == count
    with ocp.PyTreeCheckpointer() as reader:
        rest = jax.tree.leaves(reader.restore(found / checkpoint.REST))
    assert 2 * count < sum(np.size(leaf) for leaf in rest) < 2 * count + 50  # and counts, lambda
    held = sum(file.stat().st_size for file in found.rglob("*") if file.is_file())
    assert held < (root / "model" / "model.safetensors").stat().st_size


def test_exports_agree_and_conversion_repeats_them(finished, root, tmp_path, capsys):
    """Merged and as adapter: 1e-5 of logits of some units; conversion to the bit."""
    merged = AutoModelForCausalLM.from_pretrained(finished / "export")
    base = AutoModelForCausalLM.from_pretrained(root / "model")
    before = hf_models.logits(base, TOKENS)
    adapted = torch_peft.PeftModel.from_pretrained(base, finished / "export_adapter")
    want = hf_models.logits(merged, TOKENS)
    np.testing.assert_allclose(hf_models.logits(adapted, TOKENS), want, rtol=0, atol=1e-5)
    assert np.abs(want - before).max() > 1e-3

    for kind, file in (("to-hf", WEIGHTS), ("to-peft", ADAPTER)):
        out = tmp_path / kind
        assert convert.main([kind, "--checkpoint", str(finished), "--out", str(out)]) == 0
        name = file.split("/")[1]
        assert (out / name).read_bytes() == (finished / file).read_bytes()
    capsys.readouterr()
    for name in ("tokenizer.json", "config.json"):
        assert (tmp_path / "to-hf" / name).read_text() == (finished / "export" / name).read_text()
    # Its chat template need not be the base's.
    for name in ("tokenizer.json", "chat_template.jinja"):
        of_run = (finished / "model" / name).read_text()
        assert (finished / "export_adapter" / name).read_text() == of_run
        assert (tmp_path / "to-peft" / name).read_text() == of_run
    fields = json.loads((finished / "export_adapter" / "adapter_config.json").read_text())
    assert fields["base_model_name_or_path"] == str(root / "model")


@pytest.fixture
def moved(finished, root, tmp_path):
    """A copy of the run whose base is elsewhere: (run, where the base is)."""
    run = shutil.copytree(finished, tmp_path / "run")
    file = run / "model" / "lora.json"
    record = json.loads(file.read_text()) | {"base": str(tmp_path / "gone")}
    file.write_text(json.dumps(record))
    return run, root / "model"


def test_the_base_is_found_where_it_is_said_to_be(moved, finished, tmp_path, capsys):
    run, base = moved
    arguments = ["to-hf", "--checkpoint", str(run), "--out", str(tmp_path / "out")]
    assert convert.main(arguments) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'gone'}: no such directory" in said and "--base" in said
    assert convert.main([*arguments, "--base", str(base)]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        finished / WEIGHTS
    ).read_bytes()


def test_a_checkpoint_without_its_record_is_refused(moved, tmp_path, capsys):
    run, _ = moved
    (run / "model" / "lora.json").unlink()
    assert convert.main(["to-hf", "--checkpoint", str(run), "--out", str(tmp_path / "out")]) == 1
    assert "holds LoRA alone, but" in capsys.readouterr().err


def test_another_base_is_refused(moved, finished, tmp_path, capsys):
    run, _ = moved
    out = tmp_path / "out"
    arguments = ["to-hf", "--checkpoint", str(run), "--out", str(out)]
    assert convert.main([*arguments, "--base", str(finished / "export")]) == 1
    said = capsys.readouterr().err
    assert "is not the base that LoRA was trained on: its weights are" in said
    assert not out.exists()


def test_a_whole_checkpoint_has_no_base_and_no_adapter(root, tmp_path, capsys):
    bare = tmp_path / "bare"
    params_checkpoint.save_params(bare, hf.load(root / "model")[1])
    params_checkpoint.copy_model_files(root / "model", bare / "model")
    arguments = ["--checkpoint", str(bare), "--out", str(tmp_path / "out")]
    assert convert.main(["to-peft", *arguments]) == 1
    assert "holds a whole model, not LoRA" in capsys.readouterr().err
    assert convert.main(["to-hf", *arguments, "--base", str(root / "model")]) == 1
    assert "holds a whole model, not LoRA" in capsys.readouterr().err


def test_flags_make_the_section_and_contradictions_are_named():
    flags = training_config.config_dict("lagdpo")
    assert training_config.parse(flags).lora == LoraConfig()
    flags.lora.rank = 16
    assert training_config.parse(flags).lora == LoraConfig(rank=16)
    flags.lora.targets = ("q_proj", "k")
    with pytest.raises(ConfigError, match=r"lora.targets must be of q_proj, .*, found 'k'"):
        training_config.parse(flags)
    flags = training_config.config_dict("lagdpo")
    flags.lora.alpha = 8.0
    with pytest.raises(ConfigError, match=r"lora.alpha has no meaning without lora.rank"):
        training_config.parse(flags)
    flags = training_config.config_dict("sft")
    flags.model.init, flags.lora.rank = "random", 4
    with pytest.raises(ConfigError, match=r"model.init='random' contradicts lora.rank"):
        training_config.parse(flags)


@pytest.mark.slow
def test_cached_log_probs_of_the_base_make_the_same_run(finished, root, tmp_path):
    """Losses of all steps and evaluations; 1e-5."""
    loop.run(configuration(root, tmp_path / "run", reference="cached"))
    for one, two in zip(command.logged(tmp_path / "run"), command.logged(finished), strict=True):
        for name in (name for name in one if "loss" in name):
            assert one[name] == pytest.approx(two[name], rel=1e-5)


@pytest.mark.slow
def test_stages_begin_with_the_merged_export_of_the_one_before(root, tmp_path):
    """Each stage's first loss is log 2, its base the export; the last export is the policy."""
    method = SACPO(groups=("T", "AE"), multipliers=(2.0,))
    config = configuration(root, tmp_path / "run", method=method, max_steps=3)
    stages.run(config)
    first, second = (tmp_path / "run" / "stages" / name for name in ("1_T", "2_AE"))
    record = json.loads((second / "model" / "lora.json").read_text())
    assert record["base"] == str(first / "export")
    assert record["digest"] == hf.digest(first / "export")
    losses = [r for r in command.logged(second) if "grad_norm" in r]
    assert losses[0]["loss"] == pytest.approx(np.log(2.0), abs=1e-6)
    last, final = (load_file(run / WEIGHTS) for run in (second, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, last, final)
    assert not (tmp_path / "run" / "export_adapter").exists()
    assert not (tmp_path / "run" / "model" / "lora.json").exists()
