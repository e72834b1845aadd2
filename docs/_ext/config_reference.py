"""The directive ``config-fields``: a configuration section's fields, out of its dataclass.

    ```{config-fields} dignified_jax.training.config.DataConfig
    :prefix: data.
    ```

gives a table of name, type, default and meaning, as the dataclass and its docstring say.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import typing
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from plain_docstrings import escape
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_ENTRY = re.compile(r"^  (\w+(?:, \w+)*): (.*)")


class ConfigFields(SphinxDirective):
    """Tables the fields of the dataclass named by the argument."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"prefix": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        rows = table(cls, self.options.get("prefix", ""))
        lines = [*(".. list-table::", "   :widths: 30 20 50", "   :header-rows: 1", "")]
        for row in [("field", "type and default", "meaning"), *rows]:
            lines += [f"   {'* -' if number == 0 else '  -'} {c}" for number, c in enumerate(row)]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))


def table(cls: type, prefix: str) -> list[tuple[str, str, str]]:
    """(field, type and default, meaning) in reStructuredText; sections are left out."""
    hints, meanings = typing.get_type_hints(cls), descriptions(cls)
    rows = []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) or hint is Any:
            continue
        default = "" if field.default is dataclasses.MISSING else f"; ``{field.default!r}``"
        meaning = escape(meanings[field.name])
        rows.append((f"``{prefix}{field.name}``", f"{type_text(hint)}{default}", meaning))
    return rows


def descriptions(cls: type) -> dict[str, str]:
    """Field -> its entry under "Attributes:" of the docstring, on one line."""
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if entry := _ENTRY.match(line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif not line.startswith("    "):
            break
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def type_text(hint: Any) -> str:
    """A type as people say it: the choices of a Literal, "or None" for an optional one."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"``{choice}``" for choice in arguments)
    if type(None) in arguments:
        return " or ".join(type_text(a) for a in arguments if a is not type(None)) + " or none"
    if typing.get_origin(hint) is tuple:
        return f"tuple of {type_text(arguments[0])}"
    return hint.__name__


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True}
