"""Values of fields to a checked configuration, and its defaults as a ConfigDict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from dignified_jax import typed_config
from dignified_jax.cluster.settings import upgraded
from dignified_jax.data.schema import find_dimensions
from dignified_jax.objectives import METHODS, Method
from dignified_jax.training.config.train import TrainConfig
from dignified_jax.typed_config import ConfigError, sections


def config_dict(method: str) -> ml_collections.ConfigDict:
    """Returns all fields at their defaults, for `method`; optional ones as typed placeholders."""
    config = typed_config.defaults(TrainConfig, skip="method")
    config.method = typed_config.defaults(METHODS[method])
    config.method.name = method
    return config


def field_names(method: str | None = None) -> list[str]:
    """Returns the dotted name of every field, those of a method's section included."""
    names = sections.field_names(TrainConfig)
    if method not in METHODS:
        return names
    return [*names, "method.name", *sections.field_names(METHODS[method], "method.")]


def parse(config: ml_collections.ConfigDict | Mapping[str, Any]) -> TrainConfig:
    """Returns a checked `TrainConfig`.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    fields = upgraded(config if isinstance(config, Mapping) else config.to_dict())
    cls, section = sections.choose(METHODS, fields.pop("method", {}), "method")
    _refuse_renamed(cls, section, "method")
    known = field_names(cls.name)
    method = typed_config.parse(cls, section, "method.", known)
    whole = typed_config.parse(TrainConfig, fields, "", known, method=method)
    dimensions, groups = whole.data.dimensions, whole.data.named_groups
    try:
        method = method.resolved(lambda name: find_dimensions(name, dimensions, groups), dimensions)
        method.check(dimensions)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return dataclasses.replace(whole, method=method)


def _refuse_renamed(cls: type[Method], section: Mapping[str, Any], key: str) -> None:
    """Raises ConfigError for a former name of a field; says today's."""
    for old in section:
        if old in cls.renamed:
            raise ConfigError(f"{key}.{old} is {key}.{cls.renamed[old]} now", f"{key}.{old}")


def convert_method(section: Any, key: str) -> dict[str, Any]:
    """Returns the fields of a method's section in their types; it may lack some.

    Raises:
      ConfigError: as `parse`; `key` is the section's name in messages.
    """
    cls, fields = sections.choose(METHODS, section, key)
    _refuse_renamed(cls, fields, key)
    converted = typed_config.convert_fields(cls, fields, f"{key}.", partial=True)
    return {"name": cls.name, **converted}
