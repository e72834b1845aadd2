"""The directive ``config-fields``: a configuration section's fields, out of its dataclass.

    ```{config-fields} dignified_jax.training.config.DataConfig
    :prefix: data.
    ```

gives a table of name, type, default and meaning, as the dataclass and its docstring say.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from plain_docstrings import escape
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dignified_jax.typed_config import help_text
from dignified_jax.typed_config.sections import named_classes, ordered


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
    """(field, type and default, meaning) in reStructuredText; plain sections are left out.

    Of a section that is one of several classes, the fields of each stand below its name.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    meanings = help_text.descriptions(cls)
    rows = []
    for field in ordered(cls):
        hint, name = hints[field.name], prefix + field.name
        meaning = escape(meanings.get(field.name, ""))
        if classes := named_classes(hint):
            names = ", ".join(f"``{name}``" for name in classes)
            rows.append((f"``{name}.name``", f"{names}; ``{field.default.name}``", meaning))
            for key, section in classes.items():
                rows += [(f"{f} of {key}", t, m) for f, t, m in table(section, f"{name}.")]
        elif not dataclasses.is_dataclass(hint) and hint is not Any:
            default = field.default
            shown = "" if default is dataclasses.MISSING else f"; ``{default!r}``"
            rows.append((f"``{name}``", f"{escape(help_text.describe_type(hint))}{shown}", meaning))
    return rows


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True}
