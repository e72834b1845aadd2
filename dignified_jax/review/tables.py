"""Tables of a review: rows and their texts, accounts, who judges what, and what was said and done.

Texts are kept apart from rows, each with a version. Nothing that a person wrote is ever changed or
deleted: judgments and edits are added, and flags say which of them hold.
"""

from sqlalchemy import Index, LargeBinary, UniqueConstraint
from sqlmodel import JSON, Field, SQLModel

PROMPT, GOLDEN, REJECT = "prompt", "golden", "reject_"
"""Fields of texts: "prompt[0]" and so on for the turns, "golden", "reject_NAME"."""
OPEN, ACCEPTED, REJECTED, DISPUTED = "open", "accepted", "rejected", "disputed"
STATES = (OPEN, ACCEPTED, REJECTED, DISPUTED)
ADMIN, REVIEWER, ADJUDICATOR = "admin", "reviewer", "adjudicator"
ROLES = (REVIEWER, ADJUDICATOR, ADMIN)


class Setting(SQLModel, table=True):
    """A fact about the whole review, such as its dimensions."""

    name: str = Field(primary_key=True)
    value: dict | list | str | int = Field(sa_type=JSON)


class Row(SQLModel, table=True):
    """A preference row.

    Attributes:
      digest: of its content.
      file, number: where it was imported from.
      roles: of the prompt's turns.
      origin: columns that said how it was made, to be exported with it.
    """

    id: int | None = Field(default=None, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary, unique=True)
    file: str
    number: int
    roles: list[str] = Field(sa_type=JSON)
    seed_scene: str = ""
    context: str = ""
    trigger: str = ""
    origin: dict = Field(sa_type=JSON)


class Text(SQLModel, table=True):
    """The present text of a row's field; version 1 is as imported."""

    row_id: int = Field(foreign_key="row.id", primary_key=True)
    field: str = Field(primary_key=True)
    text: str
    version: int = 1


class Edit(SQLModel, table=True):
    """A text that a field had, has, or was meant to have.

    `version` is the one that it became; None for an edit that met another's, which is kept, shown
    and waits until someone resolves it. `base` is the version that its author saw; 0 for the text
    as imported, which has no author and is kept when the first edit replaces it.
    """

    id: int | None = Field(default=None, primary_key=True)
    row_id: int = Field(foreign_key="row.id", index=True)
    field: str
    base: int
    version: int | None
    text: str
    user_id: int | None = Field(default=None, foreign_key="account.id")
    at: str
    unresolved: bool = Field(default=False, index=True)


class Pair(SQLModel, table=True):
    """Golden and the reject of one dimension of a row: what a reviewer judges at a time."""

    __table_args__ = (UniqueConstraint("row_id", "dimension"),)
    id: int | None = Field(default=None, primary_key=True)
    row_id: int = Field(foreign_key="row.id", index=True)
    dimension: str
    state: str = Field(default=OPEN, index=True)


class Account(SQLModel, table=True):
    """A person. Others, and exports, know it by its pseudonym."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    pseudonym: str = Field(unique=True)
    role: str
    password_hash: str | None = None
    active: bool = True
    created: str


class Invitation(SQLModel, table=True):
    """A one-time link; only a digest of its token is kept."""

    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    account_id: int = Field(foreign_key="account.id", index=True)
    expires: str


class LoginSession(SQLModel, table=True):
    """A signed-in browser; only a digest of its cookie is kept."""

    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    account_id: int = Field(foreign_key="account.id", index=True)
    expires: str


class Assignment(SQLModel, table=True):
    """A pair in a reviewer's queue, in the order of `rank`."""

    __table_args__ = (Index("queue", "account_id", "done", "rank"),)
    account_id: int = Field(foreign_key="account.id", primary_key=True)
    pair_id: int = Field(foreign_key="pair.id", primary_key=True, index=True)
    rank: int
    done: bool = False


class Judgment(SQLModel, table=True):
    """One person's judgment of a pair as it stood then.

    Attributes:
      verdict: "accept" or "reject".
      better: "golden", "reject" or "neither", whichever the person found better in the dimension.
      golden_place: 1 or 2, where golden was shown.
      ticks: ids of the rubric's items that hold.
      seen: field -> version of the texts that were judged.
      final: an adjudicator's, which settles the pair.
      current: neither replaced by a later one of the same person nor of texts edited since.
    """

    __table_args__ = (Index("holding", "pair_id", "current"),)
    id: int | None = Field(default=None, primary_key=True)
    pair_id: int = Field(foreign_key="pair.id")
    account_id: int = Field(foreign_key="account.id", index=True)
    at: str
    verdict: str
    better: str
    golden_place: int
    ticks: list[str] = Field(sa_type=JSON)
    seen: dict[str, int] = Field(sa_type=JSON)
    note: str = ""
    final: bool = False
    current: bool = True


class AuditEntry(SQLModel, table=True):
    """Something that was done or tried: sign-ins, accounts, edits, assignments, exports."""

    __table_args__ = (Index("recent", "action", "at"),)
    id: int | None = Field(default=None, primary_key=True)
    at: str
    action: str
    account_id: int | None = Field(default=None, foreign_key="account.id")
    address: str = ""
    detail: str = ""
