"""Configuration of a training run: frozen dataclasses, parsed strictly from a ConfigDict.

The dataclasses are the one place where fields, types, defaults and their meaning are written.
`config_dict` makes the ConfigDict that the files in ``configs/`` fill in and that command-line
flags override; `parse` turns it back, refusing unknown keys, wrong types and contradictions.
"""

from dignified_jax.training.config.data import EMBEDDED_TEST, PUBLISHED_TESTS, DataConfig
from dignified_jax.training.config.help import help_sections
from dignified_jax.training.config.model import ModelConfig
from dignified_jax.training.config.parsing import config_dict, convert_method, field_names, parse
from dignified_jax.training.config.train import TrainConfig
from dignified_jax.typed_config import ConfigError

__all__ = [
    "EMBEDDED_TEST",
    "PUBLISHED_TESTS",
    "ConfigError",
    "DataConfig",
    "ModelConfig",
    "TrainConfig",
    "config_dict",
    "convert_method",
    "field_names",
    "help_sections",
    "parse",
]
