"""The audit log: what was done, by whom, from where."""

from __future__ import annotations

from sqlmodel import Session

from dignified_jax.review.database import now
from dignified_jax.review.tables import AuditEntry


def record(
    session: Session,
    action: str,
    account_id: int | None = None,
    address: str = "",
    detail: str = "",
) -> None:
    """Adds an entry, in the same transaction as what it tells."""
    session.add(
        AuditEntry(
            at=now(), action=action, account_id=account_id, address=address, detail=detail[:500]
        )
    )
