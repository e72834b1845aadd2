"""Fields set on a command line: their text keeps until the type of the field is known."""

from __future__ import annotations

import ast
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from dignified_jax.typed_config.errors import ConfigError

_WORDS = {"true": True, "false": False}
_TRUTH = {**_WORDS, "t": True, "1": True, "f": False, "0": False}


class FlagText(str):
    """Text of a flag, to be read in the type of the field that it sets."""


def take_overrides(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Returns (nested values set by --config.NAME=VALUE, the other arguments).

    --config.NAME VALUE, --config.NAME alone (true) and --noconfig.NAME (false) are taken too. The
    later of two for one field stands, as on every command line.

    Raises:
      ConfigError: a section is set as if it was a field, or the other way round.
    """
    found: dict[str, Any] = {}
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        match = re.fullmatch(r"--?(no)?config\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
        if match is None or "--" in rest:
            rest.append(argument)
            continue
        negated, key, text = match.groups()
        if negated:
            text = "false"
        elif text is None:
            follows = waiting and not waiting[0].startswith("--")
            text = waiting.pop(0) if follows else "true"
        _set(found, key, FlagText(text))
    return found, rest


def _set(values: dict[str, Any], key: str, text: FlagText) -> None:
    *sections, field = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key}: {section} is set as a field too, found {values!r}", key)
    if isinstance(values.get(field), dict):
        raise ConfigError(f"{key} is a section of fields, found {str(text)!r}", key)
    values[field] = text


def from_text(hint: object, text: str) -> object:
    """Returns the value that a flag's text stands for in a field's type.

    Text that stands for none stays text, which is then refused by `convert`, unless the field
    takes it.
    """
    text = str(text)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return from_text(args[0], text)
    if origin in (typing.Union, types.UnionType):
        if text in ("None", "none", "null") and types.NoneType in args:
            return None
        if (several := find_tuple(hint)) is not None:
            items = from_text(several, text)
            return items if len(items) > 1 or text.startswith(("[", "(")) else text
        if {bool, str} <= set(args):  # a mere "T" may be a name
            return _WORDS.get(text.lower(), text)
        return from_text(next(arg for arg in args if arg is not types.NoneType), text)
    if origin is tuple:
        return tuple(
            from_text(args[0], item) if isinstance(item, str) else item for item in _items(text)
        )
    if hint is bool:
        return _TRUTH.get(text.lower(), text)
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return text


def find_tuple(hint: object) -> object:
    """Returns the type of several in a type of "one or several", or None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return None
    args = typing.get_args(hint)
    return next((arg for arg in args if typing.get_origin(arg) is tuple), None)


def _items(text: str) -> Sequence[object]:
    """Entries of "(0.5, 0.4)", "['a', 'b']", "0.5,0.4", "a,b" or "a"."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [item.strip() for item in text.split(",")] if text else []
    if isinstance(value, tuple | list):
        return value
    return [value if isinstance(value, str) else text]
