"""A pair as a person is shown it: texts in blinded order, with the versions that were seen."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac

from sqlmodel import Session, select

from dignified_jax.review.tables import GOLDEN, PROMPT, REJECT, Pair, Row, Text

PLACES = ("1", "2")


@dataclasses.dataclass(frozen=True)
class Turn:
    """A turn of the prompt: its slot, whose it is, and what it says."""

    slot: str
    role: str
    text: str


@dataclasses.dataclass(frozen=True)
class View:
    """A pair for one person.

    Attributes:
      pair, row: as in the tables.
      turns: of the prompt.
      responses: (first, second), in this person's order.
      golden_place: 1 or 2, where golden is; not for the page.
      versions: field -> version of each text.
    """

    pair: Pair
    row: Row
    turns: tuple[Turn, ...]
    responses: tuple[str, str]
    golden_place: int
    versions: dict[str, int]

    @property
    def seen(self) -> str:
        """The versions as a form carries them: prompt's turns, then the responses as shown."""
        fields = [self.field(turn.slot) for turn in self.turns] + [*map(self.field, PLACES)]
        return ".".join(str(self.versions[field]) for field in fields)

    def field(self, slot: str) -> str:
        """Returns the field behind a slot of the page: "1", "2", or "q0", "q1" of the prompt.

        Raises:
          KeyError: there is no such slot.
        """
        if slot in PLACES:
            return GOLDEN if int(slot) == self.golden_place else REJECT + self.pair.dimension
        if slot not in {turn.slot for turn in self.turns}:
            raise KeyError(slot)
        return f"{PROMPT}[{slot[1:]}]"

    def slot(self, field: str) -> str | None:
        """Returns the slot that shows a field; None for the reject of another dimension."""
        slots = (*(turn.slot for turn in self.turns), *PLACES)
        return next((slot for slot in slots if self.field(slot) == field), None)

    def text(self, slot: str) -> str:
        """Returns the text in a slot."""
        if slot in PLACES:
            return self.responses[int(slot) - 1]
        return next(turn.text for turn in self.turns if turn.slot == slot)

    def better(self, choice: str) -> str:
        """Returns "golden", "reject" or "neither" for the choice "1", "2" or "0"."""
        if choice == "0":
            return "neither"
        return GOLDEN if int(choice) == self.golden_place else "reject"

    def choice(self, better: str) -> str:
        """Returns the choice that `better` gives that answer for."""
        return next(choice for choice in ("0", *PLACES) if self.better(choice) == better)


def golden_place(secret: bytes, account_id: int, pair_id: int) -> int:
    """Returns 1 or 2: a person's fixed, unforeseeable place of golden in a pair."""
    word = hmac.new(secret, f"order {account_id} {pair_id}".encode(), hashlib.sha256).digest()
    return 1 + word[0] % 2


def view(session: Session, secret: bytes, account_id: int, pair_id: int) -> View | None:
    """Reads a pair for a person; None where there is no such pair."""
    pair = session.get(Pair, pair_id)
    if pair is None:
        return None
    row = session.get_one(Row, pair.row_id)
    texts = {t.field: t for t in session.exec(select(Text).where(Text.row_id == row.id))}
    fields = [f"{PROMPT}[{number}]" for number in range(len(row.roles))]
    turns = tuple(
        Turn(f"q{number}", role, texts[field].text)
        for number, (role, field) in enumerate(zip(row.roles, fields, strict=True))
    )
    place = golden_place(secret, account_id, pair_id)
    shown = [GOLDEN, REJECT + pair.dimension][:: 1 if place == 1 else -1]
    versions = {field: texts[field].version for field in (*fields, *shown)}
    first, second = (texts[field].text for field in shown)
    return View(pair, row, turns, (first, second), place, versions)
