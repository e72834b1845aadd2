"""Configurations as frozen dataclasses: read from ConfigDicts, YAML and flags, refused strictly.

A dataclass is the one place where fields, types, bounds, defaults and their meaning are written;
parsing, the command line and `--help` follow from it.
"""

from dignified_jax.typed_config.bounds import (
    Bounds,
    Count,
    NonNegative,
    Positive,
    Seed,
    check_bounds,
)
from dignified_jax.typed_config.errors import ConfigError, suggestion
from dignified_jax.typed_config.paths import (
    Path,
    Paths,
    Place,
    SourcePath,
    count_argument,
    expand_home,
    object_argument,
    path_argument,
    place_argument,
)
from dignified_jax.typed_config.sections import as_dict, convert_fields, defaults, merge, parse

__all__ = [
    "Bounds",
    "ConfigError",
    "Count",
    "NonNegative",
    "Path",
    "Paths",
    "Place",
    "Positive",
    "Seed",
    "SourcePath",
    "as_dict",
    "check_bounds",
    "convert_fields",
    "count_argument",
    "defaults",
    "expand_home",
    "merge",
    "object_argument",
    "parse",
    "path_argument",
    "place_argument",
    "suggestion",
]
