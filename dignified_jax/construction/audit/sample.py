"""A random sample of rows, and the questions about each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from dignified_jax.construction import draws
from dignified_jax.construction.templates import KINDS
from dignified_jax.data.schema import PreferenceRow
from dignified_jax.data.schema.conversation import as_objects, plain_text
from dignified_jax.files.json_digest import digest

TYPES = ("scenario", "reference", "negative")
"""What a row can fail in: a spurious scenario, an unfaithful reference, a weak negative."""


class Asked(NamedTuple):
    """One yes-or-no question about a row.

    Attributes:
      row: id of the row, a hash of its texts.
      part: "scenario", "reference", or "negative NAME".
      criterion: "S1" to "N3".
    """

    row: str
    part: str
    criterion: str


@dataclasses.dataclass(frozen=True)
class AuditRow:
    """A row of the sample, with its id."""

    id: str
    row: PreferenceRow

    def texts(self, part: str) -> dict[str, str]:
        """Returns what whoever answers about a part reads, by name."""
        found = {"situation": self.row.context} if self.row.context else {}
        found["question"] = plain_text(self.row.prompt)
        if part != "scenario":
            found["reference"] = self.row.golden
        if part.startswith("negative"):
            found["negative"] = self.row.rejects[part.partition(" ")[2]]
        return found

    @property
    def parts(self) -> dict[str, str]:
        """Part -> type, for all parts of the row."""
        negatives = {f"negative {name}": "negative" for name in self.row.mask}
        return {"scenario": "scenario", "reference": "reference", **negatives}

    @property
    def asked(self) -> list[Asked]:
        """All questions about the row."""
        parts = self.parts.items()
        return [Asked(self.id, part, name) for part, kind in parts for name in KINDS[kind]]


def draw(rows: Sequence[PreferenceRow], size: int, seed: int) -> list[AuditRow]:
    """Returns a random sample without replacement; equal rows are one.

    Which rows are drawn depends on their texts and the seed, not on their order.
    """
    found = {row_id(row): row for row in rows}
    names = sorted(found, key=lambda name: draws.number(seed, "audit", name))[:size]
    return [AuditRow(name, found[name]) for name in names]


def row_id(row: PreferenceRow) -> str:
    """Returns a hash of a row's texts."""
    return digest([as_objects(row.prompt), row.golden, sorted(row.rejects.items())])
