"""--config: names of the package, Python files, YAML files; resolved and written as YAML again."""

import json
import math
import os
import shutil

import pytest

from dignified_jax import train
from dignified_jax.training import command, config_file, presets
from dignified_jax.training import config as training_config
from dignified_jax.training.run import directory as run_directory
from dignified_jax.typed_config import ConfigError, yaml_text

METHODS = ("lagdpo", "modpo", "multi_negative", "pcgrad", "sacpo", "safe_rlhf", "sft", "soup")
COMBINED = ("sft_anchor", "sft_combined")


def load(*arguments):
    """The configuration that `train ARGUMENTS` gives to the parser."""
    parser = command.make_parser("train")
    options, overrides = command.parse_arguments(
        parser, arguments, lambda: training_config.field_names("lagdpo")
    )
    return command.load(options, overrides, "lagdpo", train._method_name)


def parse(*arguments):
    given = load(*arguments)
    with command.located(given):
        return training_config.parse(given.values)


def written(config, file):
    """A file as --print_config writes it."""
    file.write_text(yaml_text.dump(run_directory.as_dict(config)))
    return f"--config={file}"


def test_every_configuration_of_the_package_has_a_name_and_a_summary():
    assert set(config_file.shipped()) == {*METHODS, *COMBINED, "compare", "evaluate", "construct"}
    assert all(config_file.shipped().values())


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("name", METHODS)
def test_what_is_printed_runs_again_as_the_same(name, preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no checkout there
    config = parse(f"--config={name}:{preset}")
    assert parse(written(config, tmp_path / "run.yaml")) == config


def test_several_sources_are_printed_too(tmp_path):
    config = parse(
        *("--config=lagdpo", "--config.data.train=~root/a.jsonl,me/b@v1:train"),
        *("--config.data.weights=0.7,0.3", "--config.data.test=c.jsonl"),
        *("--config.data.format=pairs", "--config.data.dimension=A,T"),
    )
    first = os.path.expanduser("~root/a.jsonl")
    assert config.data.train == (first, "me/b@v1:train") and config.data.test == "c.jsonl"
    assert config.data.weights == (0.7, 0.3) and config.data.dimension == ("A", "T")
    assert parse(written(config, tmp_path / "run.yaml")) == config


@pytest.mark.parametrize("name", COMBINED)
def test_anchors_and_odd_values_are_printed_too(name, tmp_path):
    config = parse(
        f"--config={name}",
        "--config.data.anchors=('truthfulqa:no: yes.csv', 'sycophancy:1e-5')",
        "--config.optimizer.clip_norm=inf",
        "--config.workdir=007",
        "--config.max_steps=7",
    )
    assert config.optimizer.clip_norm == math.inf
    assert config.workdir == "007"
    assert parse(written(config, tmp_path / "run.yaml")) == config


def test_a_yaml_file_sets_fields_over_the_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("method:\n  name: lagdpo\n  epsilon: 0.4\noptimizer:\n  learning_rate: 1e-6\n")
    config = parse(f"--config={file}")
    usual = training_config.parse(training_config.config_dict("lagdpo"))
    assert config.method.epsilon == (0.4,)
    assert config.optimizer.learning_rate == 1e-6
    assert (config.workdir, config.data) == (usual.workdir, usual.data)
    assert parse(f"--config={file}", "--config.method.epsilon=0.3").method.epsilon == (0.3,)


def test_a_yaml_file_names_method_and_preset(tmp_path):
    file = tmp_path / "run.yml"
    file.write_text("method: pcgrad\npreset: qwen3-4b\nseed: 3\n")
    named = parse("--config=pcgrad:qwen3-4b", "--config.seed=3")
    assert parse(f"--config={file}") == named
    assert parse(f"--config={file}:tiny") == parse("--config=pcgrad:tiny", "--config.seed=3")


def test_config_json_of_a_run_is_a_configuration(tmp_path):
    config = parse("--config=lagdpo", "--config.optimizer.clip_norm=inf")
    (tmp_path / "config.json").write_text(json.dumps(run_directory.as_dict(config)))
    assert parse(f"--config={tmp_path / 'config.json'}") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "method: lagdpo\noptimizer:\n  learnin_rate: 1\n",
            r"run.yaml:3: unknown config key optimi",
        ),
        ("method: lagdpo\n\noptimizer:\n  b2: 1.0\n", r"run.yaml:4: optimizer.b2 must be at most"),
        ("method:\n  name: lagdpo\n  beta: -1\n", r"run.yaml:3: method.beta must be positive"),
        ("method:\n  name: lagpo\n", r"run.yaml:2: method.name must .* did you mean lagdpo\?"),
        ("method: lagpo\n", r"method.name must be one of .*; did you mean lagdpo\?"),
        ("method: lagdpo\nseed: 1e20\n", r"run.yaml:2: seed must be at most 4294967295"),
        ("method: lagdpo\nwandb_project: no\n", r"run.yaml:2: wandb_project='no' needs"),
        (
            "method: lagdpo\ndistributed: on\n",
            r"run.yaml:2: distributed.enabled must be of type bool",
        ),
        ("method: lagdpo\npreset: huge\n", r"run.yaml:2: .*unknown preset 'huge'"),
        ("preset: tiny\n", r"run.yaml:1: preset 'tiny' needs a method.name of"),
        ("method: lagdpo\npreset: 3\n", r"run.yaml:2: preset 3 needs"),
        ("seed: 3\n", r"method.name must be one of .*, found None"),
        ("method: [1]\n", r"run.yaml:1: method must be a section of fields, found \[1\]"),
    ],
)
def test_errors_name_file_key_and_line(text, message, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        parse(f"--config={file}")
    assert "\n" not in str(error.value)


def test_a_flags_error_is_not_blamed_on_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("method: lagdpo\nseed: 3\n")
    with pytest.raises(ConfigError, match=r"^seed must be at least 0, found -1$"):
        parse(f"--config={file}", "--config.seed=-1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lagdp", r"--config=lagdp: expected a .py or .yaml file, .*; did you mean lagdpo\?"),
        ("lagdpo:tniy", r"unknown preset 'tniy'; expected one of tiny, qwen3-4b"),
        (
            "../x",
            r"--config=../x: expected a .py or .yaml file, or one of compare, construct",
        ),
        ("~nobody-of-this-name/x.yaml", r"--config: expected a known home directory"),
    ],
)
def test_unknown_names_are_told(name, message):
    with pytest.raises(ConfigError, match=message):
        load(f"--config={name}")


def test_a_missing_file_of_the_package_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'configs/lagdpo.py'; .* --config=lagdpo$"):
        load("--config=configs/lagdpo.py")
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'run.yaml'$"):
        load("--config=run.yaml")


def test_a_file_with_a_colon_in_its_name_and_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(config_file.directory() / "sft.py", tmp_path / "my:sft.py")
    config = load("--config=~/my:sft.py:scratch").values
    assert config["workdir"] == "runs/sft-scratch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(): return 1/0", r"mine.py: ZeroDivisionError: division by zero"),
        ("import no_such_module", r"mine.py: ModuleNotFoundError: No module named 'no_such"),
        ("x = (", r"mine.py: SyntaxError: '\(' was never closed"),
        ("y = 3", r"mine.py: AttributeError: .*get_config"),
        ("import sys; sys.exit(0)", r"mine.py: SystemExit: 0"),
        ("def get_config(): raise SystemExit", r"mine.py: SystemExit: no message"),
        ("def get_config(): return 3", r"mine.py: expected a ConfigDict from get_config, found 3"),
    ],
)
def test_a_python_file_that_fails_is_one_line(text, message, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load(f"--config={file}")
    assert "\n" not in str(error.value)


def test_paths_of_every_field_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = parse(
        "--config=modpo",
        *(f"--config.{name}=~/x" for name in ("workdir", "model.path", "data.train", "data.test")),
        *("--config.data.chat_template=~/x", "--config.compilation_cache=~/x"),
        "--config.reference_cache=~/x",
        "--config.reward_policies=~/x,~/x,~/x,~/x",
    )
    found = [
        *(config.workdir, config.model.path, config.data.train, config.data.test),
        *(config.data.chat_template, config.compilation_cache, config.reference_cache),
        *config.reward_policies,
    ]
    assert found == ["/home/me/x"] * 11
    assert not os.path.exists("~")
