"""Tables and sentences in the names that the user gave the facets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from dignified_jax.console.labels import printable
from dignified_jax.console.table import Table
from dignified_jax.mfrm.result import FACETS

# Tables whose notes hold labels, which may be words for facets as well.
WITH_LABELS = ("steps", "judges_left_out", "judge_group_constructs")
# Columns that hold names of facets.
OF_FACETS = ("facet",)
Names = Mapping[str, str]


def word(facet: str, names: Names | None) -> str:
    """The name of a facet that the user gave it, or its own."""
    return printable((names or {}).get(facet, facet))


def role(name: str, names: Names) -> str:
    """The facet that is called so; the name itself where none is."""
    return {called: facet for facet, called in names.items()}.get(name, name)


def say(text: str, names: Names, plurals_only: bool = False) -> str:
    """A text without labels, with its words for facets replaced.

    `plurals_only` is for sentences in which "model" may be the one that is fitted.
    """
    if not names:
        return text
    # Not what follows a full stop, as in fit.extreme.model.
    found = re.compile(rf"(?<![.`])\b({'|'.join(FACETS)})({'s' if plurals_only else 's?'})\b")
    return found.sub(lambda match: word(match[1], names) + match[2], text)


def rename(table: Table, names: Names) -> Table:
    """The table with its name, title, columns and notes in the user's words."""
    if not names:
        return table
    columns: dict[str, list[object]] = {}
    for column, values in table.columns.items():
        called = say(column, names) if column.rstrip("s") in FACETS else column
        if called in columns or (called != column and called in table.columns):
            called = f"{called} (facet)"
        if column in OF_FACETS:
            values = [word(str(value), names) for value in values]
        columns[called] = values
    return dataclasses.replace(
        table,
        name=file_name(table.name, names),
        title=say(table.title, names),
        columns=columns,
        notes=table.notes if table.name in WITH_LABELS else tuple(
            say(note, names, True) for note in table.notes
        ),
    )  # fmt: skip


def file_name(name: str, names: Names) -> str:
    """The name of a table or figure, as of a file, with the facets' own in it."""
    parts = [word(part, names) if part in FACETS else part for part in name.split("_")]
    return "_".join(re.sub(r"[^\w.-]+", "-", part) or "-" for part in parts)
