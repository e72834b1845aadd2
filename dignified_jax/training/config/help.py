"""Help of every field of a configuration."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any

from dignified_jax.objectives import METHODS
from dignified_jax.training.config.train import TrainConfig
from dignified_jax.typed_config import help_text


def help_sections(
    values: Mapping[str, Any] | None, width: int, prefix: str = "", skip: Collection[str] = ()
) -> list[str]:
    """Returns the help of all fields, a text for every section.

    Args:
      values: a configuration, whose method's fields are described and whose values are told.
      width: columns to fill.
      prefix: of the fields' names.
      skip: fields to leave out; without a method, no method is described.
    """
    values = values or {}
    hints = typing.get_type_hints(TrainConfig)
    parts = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    chosen = values.get("method") or {}
    name = chosen if isinstance(chosen, str) else chosen.get("name")
    page = [("the run", TrainConfig, prefix, values)]
    if name in METHODS:
        inner = {} if isinstance(chosen, str) else chosen
        page.append((f"method {name}", METHODS[name], f"{prefix}method.", inner))
    page += [(n, cls, f"{prefix}{n}.", values.get(n)) for n, cls in parts.items()]
    texts = [
        f"{title}: {help_text.summary(cls)}\n\n"
        f"{help_text.section(cls, start, width, inner, skip=('method', *skip))}"
        for title, cls, start, inner in page
    ]
    if name not in METHODS and "method" not in skip:
        summaries = {key: help_text.summary(cls) for key, cls in METHODS.items()}
        listed = help_text.listing(summaries, width)
        note = "Fields of one are shown with its configuration: --config=lagdpo --help."
        texts.insert(1, f"method: {prefix}method.name is one of\n\n{listed}\n\n  {note}")
    return texts
