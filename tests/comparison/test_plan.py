"""From configs/compare.py to runs: one base for all, and refusals that name the field."""

import dataclasses

import ml_collections
import pytest

from dignified_jax.comparison import plan
from dignified_jax.objectives import METHODS
from dignified_jax.training.config import ConfigError


def runs(config):
    return plan.runs(plan.parse(config))


def test_every_method_takes_part_with_every_seed(get_config):
    found = runs(get_config())
    assert {run.config.method.name for run in found} == {
        name for name, kind in METHODS.items() if kind.__module__.startswith("dignified_jax.")
    }
    assert len(found) == 24
    assert [run.label for run in found[:2]] == ["lagdpo seed 0", "multi_negative seed 0"]
    assert found[9].config.seed == 1
    assert found[9].config.workdir == "runs/compare-tiny/runs/multi_negative/seed_1"
    assert len({run.config.workdir for run in found}) == 24


def test_runs_differ_in_what_their_files_say_and_in_nothing_else(get_config):
    first, *others = (run.config for run in runs(get_config())[:8])
    changed = {}
    for config in others:
        same = dataclasses.replace(config, method=first.method, workdir=first.workdir)
        changed[config.method.name] = {
            field.name
            for field in dataclasses.fields(same)
            if getattr(same, field.name) != getattr(first, field.name)
        }
    assert {name: fields for name, fields in changed.items() if fields} == {
        "modpo": {"reference"},
        "sft": {"optimizer"},
    }


def test_the_base_is_changed_for_all_and_an_entry_for_one(get_config):
    config = get_config()
    config.base.epochs = 7
    config.base.optimizer.learning_rate = 0.5
    config.base.optimizer.b2 = 0.75
    config.entries.lagdpo.method.epsilon = (0.25,)
    found = {run.name: run.config for run in runs(config)}
    assert {config.epochs for config in found.values()} == {7}
    assert {config.optimizer.b2 for config in found.values()} == {0.75}
    rates = {name: config.optimizer.learning_rate for name, config in found.items()}
    assert rates.pop("sft") == 1e-4  # its own file's
    assert set(rates.values()) == {0.5}
    assert found["lagdpo"].method.epsilon == (0.25,)


def test_exports_are_not_rounded(get_config):
    assert {run.config.model.export_dtype for run in runs(get_config())} == {"float32"}


def test_the_ablation_is_a_grid_of_lagdpo(get_config):
    config = get_config("ablation")
    found = {run.name: run.config.method for run in runs(config)}
    assert found.pop("multi_negative").name == "multi_negative"
    grid = {(method.epsilon, method.controller.rate) for method in found.values()}
    assert grid == {((e,), rate) for e in (0.3, 0.5, 0.6) for rate in (0.01, 0.1, 1.0)}
    usual = found[config.against]
    assert (usual.epsilon, usual.controller.rate) == ((0.5,), 0.1)
    large = plan.parse(get_config("ablation-qwen3-4b"))
    assert large.base["model"]["path"] == "Qwen/Qwen3-4B-Instruct-2507"
    assert large.workdir == "runs/compare-ablation-qwen3-4b"


def test_the_judge_trains_on_nothing_and_knows_no_method(get_config):
    config = get_config()
    config.beta = 0.3
    config.base.reference = "cached"
    config.base.best_metric = "eval/loss"
    config.base.checkpoint_every = 10
    found = plan.scorer_config(plan.parse(config))
    assert (found.method.name, found.method.beta) == ("multi_negative", 0.3)
    assert found.data.train == found.data.test == "embedded:personaknob_mini/test.jsonl"
    assert (found.reference, found.best_metric) == ("resident", None)


def test_the_judge_reads_test_rows_of_several_sources(get_config):
    config = get_config()
    data = config.base.data
    data.train, data.weights, data.format = ("a", "b"), (1.0, 2.0), "pairs"
    data.test, data.dimension = ("c", "d"), ("A", "T")
    found = plan.scorer_config(plan.parse(config)).data
    assert (found.train, found.test, found.weights) == (("c", "d"), ("c", "d"), ())
    assert (found.format, found.dimension) == ("pairs", ("A", "T"))
    data.test = "c"  # which must name its dimensions: there is one for each training source
    assert plan.scorer_config(plan.parse(config)).data.dimension == ()


def test_all_runs_share_the_test_rows(get_config):
    config = get_config("qwen3-4b")
    config.methods = ("lagdpo", "sft_anchor")
    config.entries.sft_anchor.data.anchors = ("sycophancy:a.jsonl",)
    tests = {run.config.data.test for run in plan.runs(plan.parse(config))}
    assert (
        tests == {"qisein/PersonaKnob:test"} == {plan.scorer_config(plan.parse(config)).data.test}
    )
    config.base.data.train = "mine.jsonl"
    with pytest.raises(ConfigError, match=r"base\.data\.test is not given"):
        plan.runs(plan.parse(config))
    config.base.data.test = "theirs.jsonl"
    assert {run.config.data.test for run in plan.runs(plan.parse(config))} == {"theirs.jsonl"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": (1,)}, "unknown config key seed; known: against, base, beta"),
        ({"seeds": (1, 1)}, r"seeds needs at least one entry, none twice, found \(1, 1\)"),
        ({"methods": ()}, r"methods needs at least one entry, none twice, found \(\)"),
        ({"methods": ("lagdpo", "dpo")}, "methods must be of .*soup.*, found 'dpo'"),
        ({"methods": ("soup",)}, r"against must be one of methods \('soup',\): 'lagdpo'"),
        ({"beta": 0.0}, r"beta must be positive, found 0\.0"),
        ({"workdir": ""}, "workdir must not be empty"),
        ({"base": 3}, "base must be a section of fields, found 3"),
        ({"entries.soup": 3}, "entries.soup must be a section with a section method, found 3"),
        ({"base.seed": 3}, r"base\.seed has no place there: each run has its own"),
        ({"base.distributed": True}, r"base\.distributed has no place there"),
        ({"base.epoch": 3}, "unknown config key base.epoch; known: .*; did you mean base.epochs?"),
        ({"base.epochs": 0}, "base.epochs must be at least 1, found 0"),
        ({"entries.soup.workdir": "x"}, r"entries\.soup\.workdir has no place there"),
        ({"entries.soup.method.beta": -1.0}, "entries.soup.method.beta must be positive"),
        ({"methods": ("lagdpo", "sft_anchor")}, "entries.sft_anchor on base: data.anchors must be"),
    ],
)
def test_what_is_wrong_is_named(changes, message, get_config):
    config = get_config()
    with config.unlocked(), config.ignore_type():
        for name, value in changes.items():
            *sections, field = name.split(".")
            at = config
            for section in sections:
                at = at[section]
            at[field] = value
    with pytest.raises(ConfigError, match=message):
        runs(config)


def test_names_become_directories(get_config):
    config = get_config()
    with config.unlocked():
        config.entries["up/there"] = ml_collections.ConfigDict(config.entries.lagdpo.to_dict())
    config.methods = ("lagdpo", "up/there")
    with pytest.raises(ConfigError, match="fit for a directory"):
        runs(config)
