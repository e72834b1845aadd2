"""The report as Markdown, for repositories and mail."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dignified_jax.console.labels import printable, printable_lines
from dignified_jax.console.table import Table
from dignified_jax.evaluation.report.cells import shown
from dignified_jax.evaluation.report.contents import Contents
from dignified_jax.typed_config import yaml_text

# What Markdown, or the HTML in it, would act upon.
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")


def page(contents: Contents) -> str:
    """Returns the whole text."""
    lines = [f"# {escape(contents.title)}", ""]
    for warning in contents.warnings:
        lines += [f"> **{escape(warning)}**", ""]
    for table in contents.tables:
        lines += [*_table(table), ""]
    if contents.notes:
        lines += ["## Notes", "", *(f"- {escape(note)}" for note in contents.notes), ""]
    lines += [
        "## Configuration",
        "",
        *_code(printable_lines(yaml_text.dump(_plain(contents.configuration)))),
        "",
    ]
    lines += ["## Inputs", "", "| input | hash |", "|---|---|"]
    lines += [f"| {escape(name)} | `{value}` |" for name, value in contents.inputs.items()]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """The text as Markdown that shows it, on one line."""
    return _ACTIVE.sub(r"\\\1", printable(" ".join(str(text).split())))


def _table(table: Table) -> list[str]:
    headings, rows, numeric = shown(table)
    lines = [f"## {escape(table.title)}", ""]
    lines.append("| " + " | ".join(map(escape, headings)) + " |")
    lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in rows]
    return [*lines, *(f"\n{escape(note)}" for note in table.notes)]


def _code(text: str) -> list[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}yaml", *text.rstrip("\n").split("\n"), fence]


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {k: _plain(v) if isinstance(v, Mapping) else v for k, v in values.items()}
