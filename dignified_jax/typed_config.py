"""ConfigDicts to frozen dataclasses and back, refusing whatever the dataclasses do not say."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections
from ml_collections import config_dict as placeholders


class ConfigError(ValueError):
    """A configuration field is unknown, of the wrong type, or contradicts another."""


def defaults(cls: type, skip: str = "") -> ml_collections.ConfigDict:
    """All fields of a dataclass but `skip` at their defaults, optional ones as placeholders."""
    config = ml_collections.ConfigDict()
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name == skip:
            continue
        if dataclasses.is_dataclass(hints[field.name]):
            config[field.name] = defaults(hints[field.name])
        elif field.default is None:
            config[field.name] = placeholders.placeholder(_plain_type(hints[field.name]))
        else:
            config[field.name] = field.default
    return config


def _plain_type(hint: Any) -> type:
    """The Python type that a flag for an optional field is parsed to."""
    inner = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    return str if typing.get_origin(inner) is Literal else inner


def parse(cls: type, values: Mapping[str, Any], prefix: str, **given: Any) -> Any:
    """An instance of a dataclass from the values of its fields, sections as mappings.

    Args:
      cls: the dataclass; its type hints are what is allowed.
      values: field -> value.
      prefix: of the fields' names in messages.
      given: fields that are made already, and not in `values`.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)} - set(given)
    unknown = sorted(set(values) - names)
    if unknown:
        raise ConfigError(
            f"unknown config key {', '.join(prefix + key for key in unknown)}; "
            f"known: {', '.join(prefix + name for name in sorted(names | set(given)))}"
        )
    parsed = {key: _convert(hints[key], value, prefix + key) for key, value in values.items()}
    try:
        return cls(**parsed, **given)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _convert(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a section of fields, found {value!r}")
        return parse(hint, value, key + ".")
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(arg for arg in args if arg is not types.NoneType), value, key)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{key} must be one of {', '.join(map(repr, args))}, found {value!r}")
        return value
    if origin is tuple:
        items = value if isinstance(value, tuple | list) else (value,)
        return tuple(_convert(args[0], item, key) for item in items)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{key} must be of type {hint.__name__}, found {value!r}")
    return value
