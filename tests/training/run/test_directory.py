"""The run directory's files, as this version and earlier ones wrote them."""

import dataclasses
import json

import pytest

from dignified_jax.training.config import ConfigError, DataConfig
from dignified_jax.training.run import directory
from tests.oracles import tiny_run


def begin(config):
    workdir = directory.path(config)
    workdir.mkdir()
    directory.write_config(workdir, config)
    (workdir / directory.METRICS_FILE).write_text("")
    return workdir


def test_a_run_from_before_there_were_dimensions_goes_on(tmp_path):
    config = tiny_run.config(tmp_path, tmp_path / "run")
    workdir = begin(config)
    file = workdir / directory.CONFIG_FILE
    fields = json.loads(file.read_text())
    del fields["data"]["dimensions"]
    file.write_text(json.dumps(fields))
    directory.check_config(workdir, config)
    other = dataclasses.replace(config.data, dimensions=("A", "T", "C", "E"))
    with pytest.raises(ConfigError, match=r"data\.dimensions: \['A', 'T', 'E', 'C'\] there, \["):
        directory.check_config(workdir, dataclasses.replace(config, data=other))


def test_names_are_checked():
    with pytest.raises(ConfigError, match=r"^data\.dimensions: .* found 'a/b'"):
        DataConfig(dimensions=("A", "a/b"))
