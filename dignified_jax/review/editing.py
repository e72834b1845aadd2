"""Edits of texts: no text is lost, and two edits of the same text are both kept and shown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from sqlmodel import Session, select, update

from dignified_jax.data.schema.cells import is_blank
from dignified_jax.review.database import now
from dignified_jax.review.judging import reopen
from dignified_jax.review.tables import GOLDEN, PROMPT, REJECT, Edit, Pair, Text

LONGEST_TEXT = 2_000_000


@dataclasses.dataclass(frozen=True)
class Edited:
    """Result of an edit.

    Attributes:
      version: of the field now; unchanged where the text is what it was.
      conflict: the edit that was kept beside another's, None where there is no conflict.
    """

    version: int
    conflict: Edit | None = None


def edit(
    session: Session, row_id: int, field: str, said: str, base: int, account_id: int
) -> Edited:
    """Replaces a text, or keeps the edit as one in conflict if the text changed since `base`.

    Judgments of the pairs that show the text end, and their reviewers are asked again. Line ends
    come from browsers as CR LF; they become those of the text that is replaced.

    Args:
      session: a writing one.
      row_id, field: which text.
      said: the new text.
      base: the version that its author saw.
      account_id: the author.

    Raises:
      ValueError: a blank text, one that is too long, or a reject equal to golden; in plain words.
    """
    text = session.get_one(Text, (row_id, field))
    said = restored_line_ends(said, text.text)
    if said == text.text:
        return Edited(text.version)
    _check(session, row_id, field, said)
    if base != text.version:
        kept = Edit(
            row_id=row_id,
            field=field,
            base=base,
            version=None,
            text=said,
            user_id=account_id,
            at=now(),
            unresolved=True,
        )
        session.add(kept)
        session.flush()
        return Edited(text.version, kept)
    if text.version == 1:
        session.add(Edit(row_id=row_id, field=field, base=0, version=1, text=text.text, at=now()))
    text.text, text.version = said, text.version + 1
    session.add(text)
    session.add(
        Edit(
            row_id=row_id,
            field=field,
            base=base,
            version=text.version,
            text=said,
            user_id=account_id,
            at=now(),
        )
    )
    session.flush()
    pairs = session.exec(select(Pair).where(Pair.row_id == row_id)).all()
    shows = {GOLDEN: pairs}.get(field) or [p for p in pairs if field == REJECT + p.dimension]
    reopen(session, [pair.id for pair in (pairs if field.startswith(PROMPT) else shows)])
    return Edited(text.version)


def resolve(session: Session, row_id: int, edit_id: int) -> None:
    """Marks one edit in conflict as seen to; it stays in the history."""
    one = (Edit.row_id == row_id) & (Edit.id == edit_id) & Edit.unresolved
    session.exec(update(Edit).where(one).values(unresolved=False))


def restored_line_ends(said: str, before: str) -> str:
    """Returns a text from a form with the line ends that the text before it has."""
    said = said.replace("\r\n", "\n")
    if "\r\n" in before and not re.search(r"(?<!\r)\n", before):
        return said.replace("\n", "\r\n")
    return said


def _check(session: Session, row_id: int, field: str, said: str) -> None:
    if is_blank(said):
        raise ValueError("The text is empty. Reject the pair if it should not be used.")
    if len(said) > LONGEST_TEXT:
        raise ValueError(f"The text has {len(said):,} characters; at most {LONGEST_TEXT:,} fit.")
    texts = {t.field: t.text for t in session.exec(select(Text).where(Text.row_id == row_id))}
    if same := _equal(texts | {field: said}, field):
        raise ValueError(f"The text is now the same as {same}; they must differ.")


def _equal(texts: Mapping[str, str], field: str) -> str | None:
    """Returns a description of the response that must not equal this one, and does."""
    if field == GOLDEN:
        others = [name for name in texts if name.startswith(REJECT)]
    else:
        others = [GOLDEN] if field.startswith(REJECT) else []
    found = any(texts[name].strip() == texts[field].strip() for name in others)
    return "that of another response to the question" if found else None
