"""Methods of several stages, as whole small runs."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from dignified_jax.data import DIMENSIONS
from dignified_jax.models import hf
from dignified_jax.objectives import (
    MODPO,
    SACPO,
    MultiNegativeDPO,
    PCGradDPO,
    RewardedSoup,
    SafeRLHF,
    terms,
)
from dignified_jax.training import loop, stages
from dignified_jax.training.config import ConfigError
from dignified_jax.training.run import continuation
from tests.oracles import command, tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 1
LOG_2 = np.log(2.0)


def configuration(root, workdir, method, **changes):
    mesh = {"mesh__fsdp": 1}
    return tiny_run.config(root, workdir, method=method, max_steps=3, **mesh, **changes)


def weights(directory):
    return load_file(directory / "model.safetensors")


def trained(workdir):
    return [record for record in command.logged(workdir) if "loss" in record]


def test_sacpo_compares_each_stage_with_the_one_before(root, tmp_path):
    """Every stage begins at log 2; the final table is against the first model."""
    method = SACPO(groups=("T", "AE"), multipliers=(2.0,))
    result = stages.run(configuration(root, tmp_path / "run", method))
    first, second = (tmp_path / "run" / "stages" / name for name in ("1_T", "2_AE"))
    for stage, dimensions in ((first, "T"), (second, "AE")):
        losses = trained(stage)[0]
        assert [k for k in DIMENSIONS if f"loss/{k}" in losses] == sorted(
            dimensions, key=DIMENSIONS.index
        )
        for dimension in dimensions:
            assert losses[f"loss/{dimension}"] == pytest.approx(LOG_2, abs=1e-6)
    config = json.loads((second / "config.json").read_text())
    assert config["model"]["path"] == str(first / "export")
    assert config["method"]["beta"] == 0.05  # 0.1 / 2
    assert json.loads((first / "config.json").read_text())["method"]["beta"] == 0.1

    export = weights(tmp_path / "run" / "export")
    assert export.keys() == weights(second / "export").keys()
    jax.tree.map(np.testing.assert_array_equal, export, weights(second / "export"))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == result
    assert result["method"] == "sacpo"
    own = json.loads((second / "summary.json").read_text())
    # T was learnt in stage 1: seen from the first model it is below stage 2's own view of it.
    assert result["dimensions"]["T"]["loss"] < own["dimensions"]["T"]["loss"] - 0.01


@pytest.mark.slow
def test_p_sacpo_mixes_the_last_two_policies(root, tmp_path):
    method = SACPO(groups=("T", "AE"), last_share=0.25)
    stages.run(configuration(root, tmp_path / "run", method))
    directories = [tmp_path / "run" / "stages" / name / "export" for name in ("1_T", "2_AE")]
    one, two, export = map(weights, (*directories, tmp_path / "run" / "export"))
    for name, value in export.items():
        np.testing.assert_allclose(value, 0.75 * one[name] + 0.25 * two[name], atol=1e-6)
    assert any(np.abs(one[name] - two[name]).max() > 1e-4 for name in one)


def test_the_soup_is_the_mean_of_single_policies_and_leaves_weight_0_out(root, tmp_path):
    method = RewardedSoup(weights=(1.0, 3.0, 0.0, 0.0))
    result = stages.run(configuration(root, tmp_path / "run", method))
    directories = tmp_path / "run" / "stages"
    assert sorted(path.name for path in directories.iterdir()) == ["A", "T"]
    one, two, export = (
        weights(d / "export") for d in (directories / "A", directories / "T", directories.parent)
    )
    for name, value in export.items():
        np.testing.assert_allclose(value, 0.25 * one[name] + 0.75 * two[name], atol=1e-6)
    assert result["method"] == "soup"
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["method"]
    assert (recorded["name"], recorded["weights"]) == ("soup", [1.0, 3.0, 0.0, 0.0])
    assert all(row["loss"] < LOG_2 for name, row in result["dimensions"].items() if name in "AT")


@pytest.mark.slow
def test_modpo_without_rewards_is_dpo_at_beta_over_w(root, tmp_path):
    """Policies equal to the reference give rewards of 0; then R = beta s / w, w = 1/4."""
    same = (str(root / "model"),) * 4
    run = configuration(
        root, tmp_path / "modpo", MODPO(beta=0.1), reference="cached", reward_policies=same
    )
    stages.run(run)
    plain = configuration(root, tmp_path / "dpo", MultiNegativeDPO(beta=0.4), reference="cached")
    stages.run(plain)
    for left, right in zip(trained(tmp_path / "modpo"), trained(tmp_path / "dpo"), strict=True):
        for dimension in DIMENSIONS:
            if f"loss/{dimension}" in right:
                name = f"loss/{dimension}"
                assert left[name] == pytest.approx(right[name], rel=1e-5)


@pytest.mark.slow
def test_modpo_trains_the_policies_that_it_needs(root, tmp_path):
    run = configuration(root, tmp_path / "run", MODPO(), reference="cached")
    stages.run(run)
    directories = tmp_path / "run" / "stages"
    assert sorted(path.name for path in directories.iterdir()) == sorted(DIMENSIONS)
    assert not np.isclose(trained(tmp_path / "run")[0]["loss/T"], LOG_2, atol=1e-3)
    paths = json.loads((tmp_path / "run" / "config.json").read_text())["reward_policies"]
    assert paths == [str(directories / dimension / "export") for dimension in DIMENSIONS]


def test_terms_of_a_method_are_those_of_its_stages_and_of_its_table(root, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stages.loop, "run", lambda config: seen.append(config.method) or {})
    monkeypatch.setattr(stages.loop, "assess", lambda _, method, policy: seen.append(method) or {})
    fields = {"golden_nll": 0.5, "length_normalized": True, "label_smoothing": 0.1, "robust": True}
    stages.run(configuration(root, tmp_path / "run", RewardedSoup(beta=2.0, **fields)))
    assert len(seen) == 5 and [terms.of(method) for method in seen] == [fields] * 5
    assert {method.beta for method in seen} == {2.0}


def test_modpo_trains_no_policy_for_a_dimension_of_weight_0(root, tmp_path, monkeypatch):
    """Nor asks for rows of it; its rewards are those of the first model, 0."""
    seen = []

    def run(config):
        seen.append(config)
        return {}

    monkeypatch.setattr(stages.loop, "run", run)
    method = MODPO(weights=(1.0, 0.0, 2.0, 0.0))
    stages.run(configuration(root, tmp_path / "run", method, reference="cached"))
    *earlier, last = seen
    assert [config.method.weights for config in earlier] == [(1, 0, 0, 0), (0, 0, 1, 0)]
    trained = {name: str(tmp_path / "run" / "stages" / name / "export") for name in "AE"}
    first = str(root / "model")
    assert last.reward_policies == (trained["A"], first, trained["E"], first)


@pytest.mark.parametrize("method", [SACPO(), RewardedSoup(), MODPO()], ids=lambda m: m.name)
def test_a_directory_of_another_run_is_refused_before_any_stage(
    method, root, tmp_path, monkeypatch
):
    """Not after all of them, when the last part comes to use the directory itself."""
    seen = []
    monkeypatch.setattr(stages.loop, "run", lambda config: seen.append(config.workdir))
    monkeypatch.setattr(stages.loop, "assess", lambda config, *_: seen.append(config.workdir))
    run = configuration(root, tmp_path / "run", method, reference="cached")
    stages.run(run)  # an empty one is free
    assert seen[-1] == run.workdir and len(seen) > 2
    other = configuration(root, tmp_path / "run", MultiNegativeDPO(beta=0.3))
    (tmp_path / "run").mkdir()
    continuation.write_config(tmp_path / "run", other)
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    seen.clear()
    with pytest.raises(ConfigError, match="holds a run with another configuration"):
        stages.run(run)
    assert seen == []


@pytest.mark.parametrize("method", [SACPO(), RewardedSoup()], ids=lambda m: m.name)
def test_a_finished_policy_of_stages_is_not_overwritten_by_another_method(
    method, root, tmp_path, monkeypatch
):
    """Itself it may be mixed again, with other shares; it took no step in its directory."""
    (tmp_path / "run").mkdir()
    summary = json.dumps({"method": method.name, "dimensions": {}})
    (tmp_path / "run" / "summary.json").write_text(summary, encoding="utf-8")
    seen = []
    monkeypatch.setattr(loop, "prepare", lambda config, *_: seen.append(config))
    others = (MultiNegativeDPO(), MODPO(), {"sacpo": RewardedSoup(), "soup": SACPO()}[method.name])
    for other in others:
        message = rf"holds a run with another .*summary.json.*{method.name}.*{other.name}"
        with pytest.raises(ConfigError, match=message.replace(".*", r"(?s:.*)")):
            stages.run(configuration(root, tmp_path / "run", other, reference="cached"))
    assert seen == []
    continuation.check_method(tmp_path / "run", configuration(root, tmp_path / "run", method))


@pytest.mark.parametrize(
    "method",
    [SACPO(groups=("A", "T", "C")), RewardedSoup(), MODPO(weights=(1.0, 0.0, 0.0, 1.0))],
    ids=lambda m: m.name,
)
def test_a_later_stage_without_rows_is_told_before_the_first(method, root, tmp_path, monkeypatch):
    rows = [row for row in tiny_run.records() if "C" not in row["mask"]]
    tiny_run.write_rows(tmp_path / "train.jsonl", rows)
    seen = []
    monkeypatch.setattr(stages.loop, "run", lambda config: seen.append(config.workdir))
    train = str(tmp_path / "train.jsonl")
    run = configuration(root, tmp_path / "run", method, reference="cached", data__train=train)
    with pytest.raises(ConfigError, match=r"trains on C, but no train row has a reject of these"):
        stages.run(run)
    assert seen == [] and not (tmp_path / "run").exists()
    # It was looked before the first step: these rows are not read once more.
    first = method.stages(run.data.dimensions)[0].name
    monkeypatch.setattr(stages.continuation, "begun", lambda directory: directory.name == first)
    monkeypatch.setattr(stages.loop, "assess", lambda *_: {})
    stages.run(run)
    assert len(seen) >= 2


def test_a_reward_policy_of_another_shape_is_refused(root, tmp_path):
    tiny_run.write_model(tmp_path / "other", intermediate_size=64)
    paths = (str(tmp_path / "other"), *(str(root / "model"),) * 3)
    run = configuration(root, tmp_path / "run", MODPO(), reference="cached", reward_policies=paths)
    with pytest.raises(ConfigError, match=r"reward_policies: .*other is not of the shape of"):
        stages.run(run)
    paths = (*(str(root / "model"),) * 3, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none"):
        stages.run(dataclasses.replace(run, reward_policies=paths))
    assert not (tmp_path / "run" / "reference").exists()  # told before anything is scored


@pytest.mark.parametrize(
    "method",
    [PCGradDPO(), SafeRLHF(lambda_init=2.0)],
    ids=lambda m: m.name,
)
@pytest.mark.slow
def test_single_stage_methods_learn(method, root, tmp_path):
    result = stages.run(configuration(root, tmp_path / "run", method))
    assert result["method"] == method.name
    for row in result["dimensions"].values():
        assert row["loss"] < 0.65
    assert hf.stored_dtype(tmp_path / "run" / "export") == "float32"


def test_a_dimension_that_no_row_has_is_named(root, tmp_path):
    rows = [row for row in tiny_run.records() if "C" not in row["mask"]]
    tiny_run.write_rows(tmp_path / "train.jsonl", rows)
    run = configuration(
        root,
        tmp_path / "run",
        RewardedSoup(weights=(0.0, 0.0, 0.0, 1.0)),
        data__train=str(tmp_path / "train.jsonl"),
    )
    with pytest.raises(ConfigError, match=r"trains on C, but no train row has a reject"):
        stages.run(run)
