"""Help of every field of a configuration."""

from __future__ import annotations

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
    chosen = values.get("method") or {}
    name = chosen if isinstance(chosen, str) else chosen.get("name")
    texts = help_text.page("the run", TrainConfig, values, width, prefix, ("method", *skip))
    if name in METHODS:
        cls, inner = METHODS[name], {} if isinstance(chosen, str) else chosen
        fields = help_text.section(cls, f"{prefix}method.", width, inner)
        texts.insert(1, f"method {name}: {help_text.summary(cls)}\n\n{fields}")
    elif "method" not in skip:
        summaries = {key: help_text.summary(cls) for key, cls in METHODS.items()}
        listed = help_text.listing(summaries, width)
        note = "Fields of one are shown with its configuration: --config=lagdpo --help."
        texts.insert(1, f"method: {prefix}method.name is one of\n\n{listed}\n\n  {note}")
    return texts
