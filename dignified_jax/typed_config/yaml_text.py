"""YAML files of configurations, by the rules of YAML 1.2: `1e-5` is a number, `no` is a text.

Nothing but mappings, lists and plain values is read: no tags, which could name code, and no
aliases, by which a short file can mean an endless one.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dignified_jax.typed_config.errors import ConfigError

_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF|Infinity)")
_NAN = (".nan", ".NaN", ".NAN", "NaN")
_DEEPEST = 100
_MOST_DIGITS = 400


def read(file: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads a YAML or JSON file that holds one mapping.

    Returns:
      Its values, sections as dicts; and the line, from 1, at which each dotted name stands.

    Raises:
      ConfigError: not YAML, or something else than the above; names file and line.
      OSError: the file can't be read.
    """
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text, found other bytes: {error}") from error
    try:
        _refuse_what_is_not_read(file, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{place}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file}: expected fields, one `name: value` a line")
    lines: dict[str, int] = {}
    return _value(node, str(file), "", lines), lines


def dump(values: Mapping[str, Any]) -> str:
    """Returns YAML that `read` takes back as it was, lists for tuples."""
    return yaml.dump(
        _name_first(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def _name_first(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections begin with what they are."""
    ordered = {"name": values["name"], **values} if "name" in values else values
    return {k: _name_first(v) if isinstance(v, Mapping) else v for k, v in ordered.items()}


def _refuse_what_is_not_read(file: str | pathlib.Path, text: str) -> None:
    """Refuses tags, aliases, and what is nested so deep that PyYAML would take long and fail."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ConfigError(f"{file}:{line}: sections are nested too deep")
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{file}:{line}: aliases (*{event.anchor}) are not read")
        if getattr(event, "tag", None) is not None:
            raise ConfigError(f"{file}:{line}: tags ({event.tag}) are not read")


def _value(node: yaml.Node, file: str, key: str, lines: dict[str, int]) -> object:
    if isinstance(node, yaml.MappingNode):
        return dict(_fields(node, file, key, lines))
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, file, key, lines) for item in node.value]
    return _whole(node.value) if node.style is not None else plain(node.value)


def _whole(text: str) -> str:
    """A text whose pairs of surrogates, as JSON escapes letters beyond 16 bits, are one letter."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _fields(
    node: yaml.MappingNode, file: str, key: str, lines: dict[str, int]
) -> Iterator[tuple[str, object]]:
    seen = set()
    for name_node, value in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: expected the name of a field")
        name = _whole(name_node.value)
        dotted = f"{key}.{name}" if key else name
        if name in seen:
            raise ConfigError(f"{file}:{line}: {dotted} stands twice", dotted)
        seen.add(name)
        lines[dotted] = line
        yield name, _value(value, file, dotted, lines)


def plain(text: str) -> object:
    """Returns the value of a text without quotes."""
    if text.lower() in _CONSTANTS and text in (text.lower(), text.title(), text.upper()):
        return _CONSTANTS[text.lower()]
    if len(text) <= _MOST_DIGITS:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    if match := _INFINITE.fullmatch(text):
        return float(match[1] + "inf")
    return math.nan if text in _NAN else text


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `plain` would read as something else; has no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Adds quotes to those of YAML 1.1."""
        style = None if plain(data) == data else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_list_in_line(self, data: object) -> yaml.SequenceNode:
        """A list of plain values in one line."""
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_list_in_line)
_Dumper.add_representer(tuple, _Dumper.represent_list_in_line)
