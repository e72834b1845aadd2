"""Anchor sets as examples: questions that need a dimension, replies that do well or fail in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dignified_jax.data import read_anchors, read_rows
from dignified_jax.data.anchors import READERS
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import plain_text
from dignified_jax.embedded import resolve
from dignified_jax.typed_config import ConfigError

LONGEST = 1500
"""Characters of a text that is shown; stories of anchor sets are many pages long."""


@dataclasses.dataclass(frozen=True)
class Seed:
    """One example of an anchor set.

    Attributes:
      source: the file and row that it is of.
      question: what a user wrote.
      good: a reply that does well in the dimension.
      bad: one that fails in it; "" where the set has none.
    """

    source: str
    question: str
    good: str
    bad: str = ""


def read(entries: Sequence[str], dimensions: Sequence[str]) -> dict[str, list[Seed]]:
    """Reads the anchor set of each dimension.

    Args:
      entries: "DIMENSION=KIND:FILE" of a public set (`data.read_anchors`), or "DIMENSION=FILE" of
        preference rows, of which those count where the dimension is active. Several of one
        dimension are joined.
      dimensions: each of which needs an anchor set.

    Raises:
      ConfigError: names the entry, or the dimension without examples.
      BadRowsError, OSError: as `data.read_rows`.
    """
    found: dict[str, list[Seed]] = {dimension: [] for dimension in dimensions}
    read_files: dict[str, Sequence[PreferenceRow]] = {}
    for entry in entries:
        dimension, equals, source = entry.partition("=")
        if not equals or dimension not in found or not source:
            raise ConfigError(
                "anchors: expected DIMENSION=KIND:FILE or DIMENSION=FILE with a dimension out of "
                f"{', '.join(dimensions)}, found {entry!r}",
                "anchors",
            )
        if source not in read_files:
            read_files[source] = _rows(source, dimensions)
        found[dimension] += _seeds(read_files[source], dimension, source)
    for dimension, seeds in found.items():
        if not seeds:
            raise ConfigError(f"anchors: dimension {dimension} has no example", "anchors")
    return found


def _rows(source: str, dimensions: Sequence[str]) -> Sequence[PreferenceRow]:
    kind, _, file = source.partition(":")
    if kind in READERS:
        return read_anchors(kind, file, dimensions=dimensions)
    return read_rows(resolve(source), dimensions=dimensions)


def _seeds(rows: Sequence[PreferenceRow], dimension: str, source: str) -> list[Seed]:
    """The rows without rejects, which are a public set's, and those where the dimension is active.

    Rows about fewer dimensions are better examples, if there are any of one alone.
    """
    own = [row for row in rows if not row.rejects or dimension in row.rejects]
    alone = [row for row in own if len(row.rejects) <= 1]
    return [
        Seed(
            f"{source}:{row.row}",
            clipped(plain_text(row.prompt)),
            clipped(row.golden),
            clipped(row.rejects.get(dimension, "")),
        )
        for row in alone or own
    ]


def clipped(text: str) -> str:
    """Returns a text's beginning, and where it is longer a mark that it goes on."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} […]"


def seed_scene(seeds: Mapping[str, Sequence[Seed]]) -> str:
    """Returns the seed question of each active dimension, as rows keep them."""
    return "\n\n".join(examples[0].question for examples in seeds.values())
