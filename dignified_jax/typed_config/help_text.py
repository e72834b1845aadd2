"""Help of every field of a dataclass: name, type, default, allowed values, and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from dignified_jax.typed_config import paths, sections
from dignified_jax.typed_config.bounds import find_bounds

_NUMBERS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts", bool: "of true or false"}


def section(
    cls: type,
    prefix: str,
    width: int,
    values: Mapping[str, Any] | None = None,
    skip: Iterable[str] = (),
) -> str:
    """Returns the help of a dataclass's fields, without those that are sections themselves.

    Args:
      cls: the dataclass; its docstring has a paragraph "Attributes:".
      prefix: of the fields' names, such as "data.".
      width: columns to fill.
      values: field -> value of a configuration, told where it is not the default.
      skip: fields to leave out.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    shown = [
        field
        for field in sections.ordered(cls)
        if field.name not in skip and not dataclasses.is_dataclass(hints[field.name])
    ]
    texts = descriptions(cls)
    lines = []
    for field, following in itertools.zip_longest(shown, shown[1:]):
        facts = [describe_type(hints[field.name]), f"default {_plain(_default(field))}"]
        given = (values or {}).get(field.name, _default(field))
        if _plain(given) != _plain(_default(field)):
            facts.append(f"here {_plain(given)}")
        lines.append(f"  {prefix}{field.name}")
        lines += _filled(";  ".join(facts), 6, width)
        # Fields that are described together stand together.
        text = texts.get(field.name, "")
        if following is None or texts.get(following.name) is not text:
            lines += _filled(text, 6, width)
            lines.append("")
        for cls_of_name in (sections.named_classes(hints[field.name]) or {}).values():
            lines += _variant(cls_of_name, f"{prefix}{field.name}.", width, given)
    return "\n".join(lines).rstrip()


def page(
    title: str,
    cls: type,
    values: Mapping[str, Any] | None,
    width: int,
    prefix: str = "",
    skip: Iterable[str] = (),
) -> list[str]:
    """Returns the help of a configuration: a text of its own fields, and one of every section.

    Args:
      title: of its own fields.
      cls: its dataclass; `skip` are fields and sections of it to leave out.
      values, width, prefix: as for `section`.
    """
    values = values or {}
    own = section(cls, prefix, width, values, skip)
    texts = [f"{title}: {summary(cls)}\n\n{own}"]
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint) and name not in skip:
            fields = section(hint, f"{prefix}{name}.", width, values.get(name))
            texts.append(f"{name}: {summary(hint)}\n\n{fields}")
    return texts


def _variant(cls: type, prefix: str, width: int, given: object) -> list[str]:
    """The fields of one class of a section, below its name."""
    chosen = isinstance(given, Mapping) and given.get("name") == cls.name
    inner = section(cls, prefix, width, given if chosen else None)
    return [f"  with {prefix}name={cls.name}", "", inner, ""] if inner else []


def listing(summaries: Mapping[str, str], width: int) -> str:
    """Returns names with a summary beside each, in lines of `width` columns."""
    lines = []
    for name, text in summaries.items():
        lines += textwrap.wrap(
            f"{name:<15} {text}", width, initial_indent="  ", subsequent_indent=" " * 18
        )
    return "\n".join(lines)


def summary(cls: type) -> str:
    """Returns the first line of a dataclass's docstring."""
    return inspect.getdoc(cls).split("\n", 1)[0]


def descriptions(cls: type) -> dict[str, str]:
    """Returns field -> text of the docstring's paragraph "Attributes:", and of the dataclasses that
    it inherits from; entries of several names, such as "b1, b2: ...", give them the same text."""
    described = {}
    for base in reversed(cls.__mro__):
        if "__dataclass_fields__" in vars(base):
            described |= _described(inspect.cleandoc(base.__doc__ or ""))
    return described


def _described(docstring: str) -> dict[str, str]:
    _, found, rest = docstring.partition("Attributes:\n")
    if not found:
        return {}
    body = textwrap.dedent(rest.split("\n\n", 1)[0])
    entries = re.findall(r"^(\w+(?:, \w+)*): (.*(?:\n[ ]+.*)*)", body, re.MULTILINE)
    described = {}
    for names, text in entries:
        joined = " ".join(text.split())
        described |= dict.fromkeys(names.split(", "), joined)
    return described


def describe_type(hint: object) -> str:
    """Returns a type for a reader: "whole number, at least 1", "'min' or 'max', or none"."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        if isinstance(args[1], Mapping):
            return "section; its name is one of " + ", ".join(args[1])
        if args[1] is paths.PATH:
            return "path"
        if args[1] is paths.PLACE:
            return "path or directory in a bucket"
        if isinstance(args[1], Mapping):
            return f"section, whose name is one of {', '.join(args[1])}"
        bounds = find_bounds(hint)
        return f"{describe_type(args[0])}{f', {bounds}' if bounds else ''}"
    if origin in (typing.Union, types.UnionType):
        inner = [describe_type(arg) for arg in args if arg is not types.NoneType]
        if sections.find_tuple(hint) is not None:
            inner = ["path or several"]
        return " or ".join(inner) + (", or None" if types.NoneType in args else "")
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin is tuple:
        bounds = find_bounds(args[0])
        inner = typing.get_args(args[0])[0] if bounds else args[0]
        words = "paths" if typing.get_origin(inner) is Annotated else _SEVERAL.get(inner, "values")
        return f"{words}{f', each {bounds}' if bounds else ''}"
    return _NUMBERS.get(hint, getattr(hint, "__name__", str(hint)))


def _default(field: dataclasses.Field[object]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    factory = field.default_factory
    return "(to be given)" if factory is dataclasses.MISSING else factory()


def _plain(value: object) -> str:
    """A value as it is written in a flag."""
    if dataclasses.is_dataclass(value):
        return value.name
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if hasattr(value, "name"):
        return str(value.name)
    if isinstance(value, Mapping):
        return str(value.get("name"))
    if isinstance(value, tuple | list):
        return ",".join(map(_plain, value)) or "()"
    return f"{value:g}" if isinstance(value, float) else str(value) or "(empty)"


def _filled(text: str, indent: int, width: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )
