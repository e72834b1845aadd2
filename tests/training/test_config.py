"""Configurations are parsed strictly: what is wrong is named, nothing is ignored."""

import dataclasses
import importlib.util
import pathlib
import sys
import typing

import pytest

from dignified_jax.models import remat
from dignified_jax.models.attention import dispatch
from dignified_jax.objectives import METHODS
from dignified_jax.training import command, presets
from dignified_jax.training import config as training_config
from dignified_jax.training.config import ConfigError

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
# Each of the method of its name.
FILES = ("lagdpo", "multi_negative", "pcgrad", "safe_rlhf", "modpo", "sacpo", "soup", "sft")
# SFT on files that have to be given.
ANCHORED = ("sft_anchor", "sft_combined")
EXTRA_PRESETS = [("sft", "scratch")]


def load(name, *preset):
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*preset)


def test_every_file_of_configs_is_tested():
    # In tests/comparison, tests/evaluation and tests/construction.
    others = {"compare", "evaluate", "construct"}
    assert {path.stem for path in CONFIGS.glob("*.py")} == {*FILES, *ANCHORED, *others}


@pytest.mark.parametrize(
    ("name", "preset"), [(f, p) for f in FILES for p in presets.PRESETS] + EXTRA_PRESETS
)
def test_every_preset_parses(name, preset):
    config = training_config.parse(load(name, preset))
    assert isinstance(config.method, METHODS[name])
    assert preset in config.workdir or preset == "scratch"
    large = preset not in ("tiny", "scratch")
    assert config.model.path.startswith("embedded:") != large
    assert config.data.train.startswith("embedded:") != large
    assert config.model.compute_dtype == ("bfloat16" if large else "float32")


@pytest.mark.parametrize("name", FILES)
def test_the_default_preset_is_tiny_and_needs_nothing_but_the_package(name):
    assert load(name).to_dict() == load(name, "tiny").to_dict()


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("name", ANCHORED)
def test_anchor_sets_have_to_be_given(name, preset):
    config = load(name, preset)
    with pytest.raises(ConfigError, match=r"data.anchors must be KIND:PATH .* 'sycophancy:'"):
        training_config.parse(config)
    config.data.anchors = ("sycophancy:evals.jsonl", "writing_prompts:train.wp_source")
    parsed = training_config.parse(config)
    assert parsed.method == METHODS["sft"]()
    assert bool(parsed.data.train) == (name == "sft_combined")
    assert preset in parsed.workdir


def test_rows_without_rejects_are_not_for_preferences():
    config = changed("data.anchors", ("truthfulqa:TruthfulQA.csv",))
    with pytest.raises(ConfigError, match=r"data.anchors contradicts method.name='lagdpo'"):
        training_config.parse(config)
    with pytest.raises(ConfigError, match=r"data.train is empty, and so is data.anchors"):
        training_config.parse(changed("data.train", ""))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": ("a", "a")}, r"data\.train must be distinct sources, found \('a', 'a'\)"),
        ({"train": ("a", "")}, r"data\.train must be distinct sources"),
        ({"test": ("a", "a")}, r"data\.test must be distinct sources"),
        ({"weights": (1.0,)}, r"data\.weights contradicts a single source in data\.train"),
        ({"train": ("a", "b"), "weights": (1.0,)}, r"data\.weights must be one number for each of"),
        ({"train": ("a", "b"), "weights": (1.0, 0.0)}, r"data\.weights must be positive, found 0"),
        ({"dimension": ("A",)}, r"data\.dimension contradicts data\.format='rejects'"),
        ({"format": "pairs", "dimension": ("X",)}, r"data\.dimension must be out of A, .* 'X'"),
        ({"format": "pairs", "dimension": ("A", "T")}, r"data\.dimension must be one name, or one"),
    ],
)
def test_sources_that_contradict_each_other(fields, message):
    config = training_config.config_dict("lagdpo")
    for name, value in fields.items():
        config.data[name] = value
    with pytest.raises(ConfigError, match=f"^{message}"):
        training_config.parse(config)


def test_weights_are_not_for_anchors():
    config = training_config.config_dict("sft")
    config.data.train, config.data.weights = ("a", "b"), (1.0, 2.0)
    config.data.anchors = ("truthfulqa:a.csv",)
    with pytest.raises(ConfigError, match=r"^data\.weights contradicts data\.anchors"):
        training_config.parse(config)


@pytest.mark.parametrize("name", (*FILES, *ANCHORED))
def test_an_unknown_preset_is_refused(name):
    with pytest.raises(ValueError, match="unknown preset 'huge'; expected one of tiny, qwen3-4b"):
        load(name, "huge")


def test_lagdpo_has_the_published_settings():
    config = training_config.parse(load("lagdpo", "qwen3-4b"))
    assert (config.batch_size, config.epochs) == (16, 3)
    assert (config.method.epsilon, config.method.lambda_init) == ((0.5,), (0.0,))
    assert config.method.beta == 0.1
    assert config.optimizer.learning_rate == 5e-7


def test_all_defaults_survive_the_round_trip():
    config = training_config.parse(training_config.config_dict("lagdpo"))
    assert config == training_config.TrainConfig(method=METHODS["lagdpo"]())


def changed(path, value, method="lagdpo"):
    """All defaults but one field, set past ConfigDict's own type checks."""
    config = training_config.config_dict(method)
    *sections, field = path.split(".")
    section = config
    for name in sections:
        section = section[name]
    with section.ignore_type():
        section[field] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("epoch", 1, r"unknown config key epoch; known: batch_size, "),
        ("data.rowlength", 1, r"unknown config key data\.rowlength; known: .*data\.row_length"),
        ("method.epsilom", 0.5, r"unknown config key method\.epsilom; known: .*method\.epsilon"),
        ("method.name", "dpo", r"method\.name must be one of lagdpo, .*, found 'dpo'"),
        ("epochs", 1.5, r"epochs must be of type int, found 1\.5"),
        ("epochs", True, r"epochs must be of type int, found True"),
        ("epochs", "3", r"epochs must be of type int, found '3'"),
        ("distributed", 1, r"distributed.enabled must be of type bool, found 1"),
        ("model.remat", True, r"model\.remat must be one of 'none', 'dots', .*, found True"),
        ("model.path", 7, r"model\.path must be of type str, found 7"),
        ("optimizer.learning_rate", "1e-3", r"optimizer\.learning_rate must be of type float"),
        ("method.epsilon", ("a",), r"method\.epsilon must be of type float, found 'a'"),
        ("data", 3, r"data must be a section of fields, found 3"),
        ("model.param_dtype", "float16", r"model\.param_dtype must be one of 'float32', 'bfloat1"),
        ("model.export_dtype", "int8", r"model\.export_dtype must be one of .*, found 'int8'"),
        ("optimizer.schedule", "step", r"optimizer\.schedule must be one of 'cosine', 'linear'"),
        ("data.on_bad_row", "ignore", r"data\.on_bad_row must be one of 'error', 'skip', found"),
    ],
)
def test_unknown_keys_and_wrong_types_are_named(path, value, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        training_config.parse(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("epochs", 0, r"epochs must be at least 1, found 0"),
        ("max_steps", 0, r"max_steps must be at least 1, found 0"),
        ("rows_per_device", -1, r"rows_per_device must be at least 1, found -1"),
        ("workdir", "", r"workdir must not be empty"),
        ("wandb_project", "", r"wandb_project must not be empty"),
        ("data.validation_fraction", 1.0, r"data\.validation_fraction must be below 1, found 1\.0"),
        ("data.row_length", 1, r"data\.row_length must be at least 2"),
        ("data.max_length", 5000, r"data\.max_length must be at most data\.row_length \(4096\)"),
        ("data.chat_template_kwargs", "[1]", r"data\.chat_template_kwargs must be a JSON object"),
        ("data.chat_template_kwargs", "{", r"data\.chat_template_kwargs must be a JSON object"),
        ("mesh.data", 0, r"mesh\.data must be at least 1, found 0"),
        ("optimizer.learning_rate", -1.0, r"optimizer\.learning_rate must be at least 0"),
        ("optimizer.learning_rate", float("nan"), r"optimizer\.learning_rate must be a number"),
        (
            "optimizer.warmup_fraction",
            1.5,
            r"optimizer\.warmup_fraction must be at most 1, found",
        ),
        ("optimizer.clip_norm", 0.0, r"optimizer\.clip_norm must be positive, found 0\.0"),
        ("method.beta", 0.0, r"method\.beta must be positive, found 0\.0"),
        ("method.epsilon", (0.5, 0.4), r"method\.epsilon needs 1 or 4 entries, found"),
        ("method.lambda_init", (11.0,), r"method\.lambda_init .* exceeds method\.lambda_max"),
        ("model.init", "random", r"model\.init='random' contradicts method\.name='lagdpo'"),
        ("reference_cache", "x", r"reference_cache contradicts reference='resident'"),
        (
            "reward_policies",
            ("a", "b", "c", "d"),
            "reward_policies contradicts method.name='lagdpo'",
        ),
        ("best_mode", "max", "best_mode has no meaning without best_metric"),
    ],
)
def test_contradictory_values_are_named(path, value, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        training_config.parse(changed(path, value))


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("sacpo", "method.groups", ("EC", "AX"), r"method.groups: expected letters of ATEC, found"),
        ("sacpo", "method.groups", ("EC", "CA"), "groups: expected non-empty groups without"),
        ("sacpo", "method.multipliers", (1.0, 2.0), "multipliers: expected 1 or 1 positive"),
        ("sacpo", "method.last_share", 1.0, r"method.last_share must be below 1, found 1.0"),
        ("soup", "method.weights", (1.0, 2.0), "method.weights needs 1 or 4 entries"),
        ("modpo", "reward_policies", ("a", "b"), "reward_policies must be 4 paths, found"),
        ("modpo", "reference", "resident", "method.name='modpo' needs reference='cached'"),
    ],
)
def test_contradictions_of_recipes_are_named(name, path, value, message):
    config = load(name)
    config.update_from_flattened_dict({path: value})
    with pytest.raises(ConfigError, match=message):
        training_config.parse(config)


def test_every_attention_and_remat_of_the_decoder_can_be_asked_for():
    hints = typing.get_type_hints(training_config.ModelConfig)
    assert typing.get_args(hints["attention"]) == typing.get_args(dispatch.Computation)
    assert typing.get_args(hints["remat"]) == typing.get_args(remat.Remat)
    with pytest.raises(ConfigError, match=r"model.attention must be one of 'auto', 'dense'"):
        training_config.parse(changed("model.attention", "flash"))


def test_sft_has_no_reference_to_cache():
    config = training_config.config_dict("sft")
    config.reference = "cached"
    with pytest.raises(ConfigError, match=r"reference='cached' contradicts method.name='sft'"):
        training_config.parse(config)


def test_the_best_needs_a_validation_split():
    config = training_config.config_dict("lagdpo")
    config.best_metric = "eval/loss"
    config.data.validation_fraction = 0.0
    with pytest.raises(ConfigError, match=r"best_metric contradicts data.validation_fraction=0"):
        training_config.parse(config)


def test_a_checkpoint_is_judged_by_its_evaluation():
    config = training_config.config_dict("lagdpo")
    config.best_metric, config.eval_every = "eval/loss", 30
    with pytest.raises(ConfigError, match="checkpoint_every 200 must be a multiple of eval_every"):
        training_config.parse(config)


def test_sft_may_begin_with_random_weights():
    config = training_config.parse(changed("model.init", "random", method="sft"))
    assert config.model.init == "random"


def test_an_int_is_taken_for_a_float_and_one_number_for_a_tuple():
    rate = training_config.parse(changed("optimizer.learning_rate", 1)).optimizer.learning_rate
    assert (rate, type(rate)) == (1.0, float)
    epsilon = training_config.parse(changed("method.epsilon", 1)).method.epsilon
    assert (epsilon, type(epsilon[0])) == ((1.0,), float)
    optional = training_config.parse(changed("optimizer.clip_norm", 2)).optimizer.clip_norm
    assert (optional, type(optional)) == (2.0, float)
    assert training_config.parse(changed("optimizer.clip_norm", None)).optimizer.clip_norm is None


def from_flags(*arguments, name="lagdpo"):
    """What `python -m dignified_jax.train --config=configs/NAME.py ARGUMENTS` parses."""
    parser = command.make_parser("train")
    argv = [f"--config={CONFIGS / name}.py", *arguments]
    options, overrides = command.parse_arguments(parser, argv, training_config.field_names)
    return training_config.parse(command.load(options, overrides, "lagdpo", str).values)


def test_flags_override_one_field_and_leave_the_rest():
    config = from_flags("--config.method.epsilon=0.4", "--config.data.row_length=512")
    before = from_flags()
    assert config.method.epsilon == (0.4,)
    assert config.data.row_length == 512
    method = dataclasses.replace(before.method, epsilon=(0.4,))
    short = dataclasses.replace(before.data, row_length=512)
    assert config == dataclasses.replace(before, method=method, data=short)


@pytest.mark.parametrize(
    ("flag", "section", "field", "value"),
    [
        ("--config.method.epsilon=(0.5, 0.5, 0.4, 0.3)", "method", "epsilon", (0.5, 0.5, 0.4, 0.3)),
        ("--config.method.epsilon=(1, 0.5, 0.4, 0.3)", "method", "epsilon", (1.0, 0.5, 0.4, 0.3)),
        ("--config.method.epsilon=1", "method", "epsilon", (1.0,)),
        ("--config.method.dual_restart=true", "method", "dual_restart", True),
        ("--config.optimizer.learning_rate=1", "optimizer", "learning_rate", 1.0),
        ("--config.optimizer.clip_norm=2", "optimizer", "clip_norm", 2.0),
        ("--config.optimizer.clip_norm=inf", "optimizer", "clip_norm", float("inf")),
        ("--config.data.max_length=64", "data", "max_length", 64),
        ("--config.model.export_dtype=bfloat16", "model", "export_dtype", "bfloat16"),
        ("--config.model.remat=attention", "model", "remat", "attention"),
        ("--config.optimizer.mu_dtype=bfloat16", "optimizer", "mu_dtype", "bfloat16"),
        ("--config.distributed", "distributed", "enabled", True),
        ("--noconfig.distributed", "distributed", "enabled", False),
        ("--config.cluster.process=3", "distributed", "process", 3),
        ("--config.distributed.coordinator=h:1", "distributed", "coordinator", "h:1"),
        ("--config.compilation_cache=here", "", "compilation_cache", "here"),
        ("--config.mesh.fsdp=4", "mesh", "fsdp", 4),
        (
            '--config.data.chat_template_kwargs={"enable_thinking": false}',
            "data",
            "chat_template_kwargs",
            '{"enable_thinking": false}',
        ),
    ],
)
def test_flags_of_every_type(flag, section, field, value):
    config = from_flags(flag)
    assert getattr(getattr(config, section) if section else config, field) == value


@pytest.mark.parametrize(
    ("text", "constrained"),
    [
        ("T", (False, True, False, False)),
        ("A,T", (True, True, False, False)),
        ("('T', 'E')", (False, True, True, False)),
        ("Dignity", (True, True, False, False)),
        ("false,TRUE,false,true", (False, True, False, True)),
    ],
)
def test_a_dimension_named_t_is_no_truth_value(text, constrained):
    config = from_flags(f"--config.method.constrained={text}", name="safe_rlhf")
    assert config.method.constrained == constrained


def test_top_level_optional_flag():
    assert from_flags("--config.max_steps=7").max_steps == 7
    assert from_flags().max_steps is None


def test_an_unknown_flag_field_is_refused_by_parse():
    with pytest.raises(ConfigError, match=r"^unknown config key data\.rows; known: .*row_length"):
        from_flags("--config.data.rows=3")


def test_wandb_must_be_installed_to_be_asked_for(tmp_path, monkeypatch):
    """A directory "wandb" on the path, as its runs leave behind, is not the package."""
    config = training_config.config_dict("lagdpo")
    assert training_config.parse(config).wandb_project is None
    config.wandb_project = "persona"
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(
        ConfigError, match=r"wandb_project='persona' needs .*dignified_jax\[wandb\]"
    ):
        training_config.parse(config)
    (tmp_path / "wandb" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert training_config.parse(config).wandb_project == "persona"


def test_names_of_dimensions_are_checked():
    with pytest.raises(ConfigError, match=r"^data\.dimensions: .* found 'a/b'"):
        training_config.DataConfig(dimensions=("A", "a/b"))
