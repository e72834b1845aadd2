"""Values of fields to frozen dataclasses, refusing whatever the dataclasses do not say."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import ml_collections
from ml_collections import config_dict as placeholders

from dignified_jax.typed_config import paths
from dignified_jax.typed_config.bounds import Bounds
from dignified_jax.typed_config.errors import ConfigError, shown, suggestion
from dignified_jax.typed_config.flag_text import FlagText, find_tuple, from_text

_LARGEST_INT = 2**63 - 1
Parsed = TypeVar("Parsed")


def ordered(cls: type) -> list[dataclasses.Field[object]]:
    """Returns a dataclass's fields, those that it shares with others (keyword-only) last."""
    return sorted(dataclasses.fields(cls), key=lambda field: field.kw_only)


def defaults(cls: type, skip: str = "") -> ml_collections.ConfigDict:
    """Returns all fields of a dataclass but `skip` at their defaults, optional ones as
    placeholders."""
    config = ml_collections.ConfigDict()
    hints = typing.get_type_hints(cls)
    for field in ordered(cls):
        if field.name == skip:
            continue
        if dataclasses.is_dataclass(field.default):  # one of several classes, by name
            config[field.name] = defaults(type(field.default))
            config[field.name].name = field.default.name
        elif dataclasses.is_dataclass(hints[field.name]):
            config[field.name] = defaults(hints[field.name])
        elif find_tuple(hints[field.name]) is not None:  # one or several: of either type
            config[field.name] = placeholders.FieldReference(field.default, field_type=object)
        elif field.default is None:
            config[field.name] = placeholders.placeholder(_plain_type(hints[field.name]))
        else:
            config[field.name] = field.default
    return config


def _plain_type(hint: object) -> type:
    """The Python type of an optional field."""
    inner = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    return str if typing.get_origin(inner) is Literal else inner


def field_names(cls: type, prefix: str = "", skip: Iterable[str] = ()) -> list[str]:
    """Returns the dotted names of a dataclass's fields, sections followed by their fields."""
    names = []
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in ordered(cls):
        if field.name not in skip:
            names.append(prefix + field.name)
            classes = (named_classes(hints[field.name]) or {}).values()
            if dataclasses.is_dataclass(hints[field.name]):
                classes = (hints[field.name],)
            for section in classes:
                names += field_names(section, prefix + field.name + ".")
    return list(dict.fromkeys(names))


def named_classes(hint: object) -> Mapping[str, type] | None:
    """Returns name -> dataclass of a section whose `name` says which it is, else None.

    The type of such a field is `Annotated[Base, CLASSES]`, and its default an instance.
    """
    if typing.get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], Mapping):
        return hint.__metadata__[0]
    return None


def choose(classes: Mapping[str, type], value: object, key: str) -> tuple[type, dict[str, Any]]:
    """Returns the class that a section's `name` says, and the section's other fields.

    A mere name is a section of that name, all at their defaults.

    Raises:
      ConfigError: no section, or no such name.
    """
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a section of fields, found {shown(value)}", key)
    fields = dict(value)
    name = fields.pop("name", None)
    if not isinstance(name, str) or name not in classes:
        near = suggestion(name, classes) if isinstance(name, str) else ""
        raise ConfigError(
            f"{key}.name must be one of {', '.join(classes)}, found {shown(name)}{near}",
            f"{key}.name",
        )
    return classes[name], fields


def as_dict(instance: object) -> dict[str, Any]:
    """Returns a dataclass's fields, sections as dicts; with the `name` of those chosen by it."""
    fields = {field.name: getattr(instance, field.name) for field in ordered(type(instance))}
    found = {
        key: as_dict(value) if dataclasses.is_dataclass(value) else value
        for key, value in fields.items()
    }
    name = getattr(type(instance), "name", None)
    return {**found, "name": name} if isinstance(name, str) else found


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with `changes` laid over it, section by section.

    A section whose `name` changes is of another kind and has other fields: nothing of the former
    one stays.
    """
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            renamed = "name" in value and value["name"] != before.get("name", value["name"])
            merged[key] = merge({} if renamed else before, value)
        else:
            merged[key] = value
    return merged


def parse(
    cls: type[Parsed],
    values: Mapping[str, Any],
    prefix: str = "",
    known: Iterable[str] | None = None,
    **given: object,
) -> Parsed:
    """Returns an instance of a dataclass from the values of its fields, sections as mappings.

    Args:
      cls: the dataclass; its type hints are what is allowed.
      values: field -> value.
      prefix: of the fields' names in messages.
      known: dotted names of the whole configuration, to suggest where one is misspelt; those of
        `cls` by default.
      given: fields that are made already, and not in `values`.

    Raises:
      ConfigError: names the field, what was found and what is allowed.
    """
    parsed = convert_fields(cls, values, prefix, known, skip=given)
    for field in dataclasses.fields(cls):
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in parsed and field.name not in given:
            raise ConfigError(f"{prefix}{field.name} is required, found none")
    try:
        return cls(**parsed, **given)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def convert_fields(
    cls: type,
    values: Mapping[str, Any],
    prefix: str,
    known: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    partial: bool = False,
) -> dict[str, Any]:
    """Returns the values of a dataclass's fields in their own types; see `parse`.

    Args:
      skip: fields that may not be given.
      partial: sections stay mappings and may lack fields, as those of changes do.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    skip = set(skip)
    names = {field.name for field in dataclasses.fields(cls)} - skip
    known = list(known or field_names(cls, prefix))
    unknown = sorted(str(key) for key in values if key not in names)
    if unknown:
        listed = ", ".join(prefix + name for name in sorted(names if partial else names | skip))
        key = prefix + unknown[0]
        raise ConfigError(
            f"unknown config key {', '.join(prefix + name for name in unknown)}; "
            f"known: {listed}{suggestion(key, known)}",
            key,
        )
    usual = {field.name: field.default for field in dataclasses.fields(cls)}
    return {
        name: _convert(hints[name], value, prefix + name, known, partial, usual[name])
        for name, value in values.items()
    }


def _convert(
    hint: object, value: object, key: str, known: Iterable[str], partial: bool, default: object
) -> object:
    if (classes := named_classes(hint)) is not None:
        if isinstance(value, Mapping) and hasattr(default, "name"):
            value = {"name": default.name, **value}
        chosen, fields = choose(classes, value, key)
        if partial:
            fields = convert_fields(chosen, fields, key + ".", known, partial=True)
            return {"name": chosen.name, **fields}
        return parse(chosen, fields, key + ".", known)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a section of fields, found {shown(value)}", key)
        if partial:
            return convert_fields(hint, value, key + ".", known, partial=True)
        return parse(hint, value, key + ".", known)
    if isinstance(value, FlagText):
        value = from_text(hint, value)
    return convert(hint, value, key)


def convert(hint: object, value: object, key: str) -> object:
    """Returns a value in the type of its field, which is no section.

    Raises:
      ConfigError: it is not of that type, and not one of those allowed.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        (note,) = args[1:]
        if isinstance(note, Bounds) and _is_number(value):
            note.check(value, key)
        found = convert(args[0], value, key)
        return found if isinstance(note, Bounds) else paths.expand(found, note, key)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        if isinstance(value, tuple | list) and (several := find_tuple(hint)) is not None:
            items = convert(several, value, key)
            if not items:
                raise ConfigError(f"{key} must name at least one, found none", key)
            return items if len(items) > 1 else items[0]
        inner = [arg for arg in args if arg is not types.NoneType]
        fit = (arg for arg in inner if isinstance(arg, type) and isinstance(value, arg))
        return convert(next(fit, inner[0]), value, key)
    if origin is Literal:
        if not any(type(value) is type(arg) and value == arg for arg in args):
            near = suggestion(value, map(str, args)) if isinstance(value, str) else ""
            raise ConfigError(
                f"{key} must be one of {', '.join(map(repr, args))}, found {shown(value)}{near}",
                key,
            )
        return value
    if origin is tuple:
        items = value if isinstance(value, tuple | list) else (value,)
        return tuple(convert(args[0], item, key) for item in items)
    return _number_or_text(hint, value, key)


def _number_or_text(hint: type, value: object, key: str) -> object:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{key} must be of type {hint.__name__}, found {shown(value)}", key)
    if hint is float and math.isnan(value):
        raise ConfigError(f"{key} must be a number, found {value}", key)
    if hint is int and abs(value) > _LARGEST_INT:
        raise ConfigError(f"{key} must be within 64 bits, found {shown(value)}", key)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
