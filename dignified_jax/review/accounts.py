"""Accounts: passwords (Argon2id), one-time links, and limits on how often they may be tried."""

from __future__ import annotations

import datetime
import functools
import hashlib
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlmodel import Session, delete, func, select

from dignified_jax.review.audit import record
from dignified_jax.review.database import moment, now
from dignified_jax.review.tables import (
    ROLES,
    Account,
    AuditEntry,
    Invitation,
    LoginSession,
)

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1000
LONGEST_NAME = 80
INVITATION_DAYS = 7
FAILED = "sign-in failed"
WINDOW = datetime.timedelta(minutes=15)
MOST_BY_NAME, MOST_BY_ADDRESS = 8, 40
# A hash takes 64 MiB and all of a core, on purpose; strangers get no more than this of both.
_HASHING = threading.BoundedSemaphore(2)


class TooManyTriesError(Exception):
    """Too many sign-ins failed of late; none is tried before some time has passed."""


def add(session: Session, name: str, role: str) -> Account:
    """Makes an account that has no password yet.

    Raises:
      ValueError: a name that is empty, too long, taken or not printable; no such role.
    """
    name = normal(name)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"A name has 1 to {LONGEST_NAME} printable characters, not {name!r}.")
    if role not in ROLES:
        raise ValueError(f"A role is one of {', '.join(ROLES)}, not {role!r}.")
    if find(session, name) is not None:
        raise ValueError(f"There is an account {name!r} already.")
    number = (session.exec(select(func.max(Account.id))).one() or 0) + 1
    account = Account(name=name, pseudonym=f"R{number}", role=role, created=now())
    session.add(account)
    session.flush()
    return account


def find(session: Session, name: str) -> Account | None:
    """Returns the account of a name, None where there is none."""
    return session.exec(select(Account).where(Account.name == normal(name))).first()


def normal(name: str) -> str:
    """Returns a name as it is kept: without outer spaces, composed, in lower case."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def invite(session: Session, account: Account, days: float = INVITATION_DAYS) -> str:
    """Returns the token of a new one-time link; earlier links of the account end."""
    token = secrets.token_urlsafe(32)
    session.exec(delete(Invitation).where(Invitation.account_id == account.id))
    expires = moment(datetime.timedelta(days=days))
    session.add(Invitation(digest=digest(token), account_id=account.id, expires=expires))
    return token


def invited(session: Session, token: str) -> Account | None:
    """Returns the account that a link is of, None where it is used up, expired or invented."""
    invitation = session.get(Invitation, digest(token))
    if invitation is None or invitation.expires < now():
        return None
    account = session.get_one(Account, invitation.account_id)
    return account if account.active else None


def use_invitation(session: Session, token: str) -> Account | None:
    """Uses a link up and returns its account, or None as `invited`."""
    account = invited(session, token)
    if account is not None:
        session.exec(delete(Invitation).where(Invitation.digest == digest(token)))
    return account


def set_password(session: Session, account: Account, password: str, hasher: PasswordHasher) -> None:
    """Sets a password; sessions of before end.

    Raises:
      ValueError: it is too short or too long.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters, "
            f"this one has {len(password):,}."
        )
    account.password_hash = hasher.hash(password)
    session.add(account)
    end_sessions(session, account)


def deactivate(session: Session, account: Account) -> None:
    """Ends an account, its sessions and its links; what it did stays."""
    account.active = False
    session.add(account)
    session.exec(delete(Invitation).where(Invitation.account_id == account.id))
    end_sessions(session, account)


def end_sessions(session: Session, account: Account) -> None:
    """Signs an account out everywhere."""
    session.exec(delete(LoginSession).where(LoginSession.account_id == account.id))


def matches(hasher: PasswordHasher, stored: str | None, password: str) -> bool:
    """Returns whether a password is the stored one; as slow where there is none."""
    with _HASHING:
        try:
            return hasher.verify(stored or _decoy(hasher), password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


@functools.cache
def _decoy(hasher: PasswordHasher) -> str:
    """Hash to check where an account has none: made once, or names would be told by the time."""
    return hasher.hash(secrets.token_urlsafe())


def check_tries(session: Session, name: str, address: str) -> None:
    """Checks that not too many sign-ins failed lately, of a name or from an address.

    Links have no name, "": of them those from the address alone count, or whoever guesses some
    would shut them for everyone.

    Raises:
      TooManyTriesError: too many did.
    """
    recent = (AuditEntry.action == FAILED) & (AuditEntry.at > moment(-WINDOW))
    here, named = AuditEntry.address == address, normal(name)[:LONGEST_NAME]
    of_name = AuditEntry.detail == named
    for of, most in (
        (of_name if named else of_name & here, MOST_BY_NAME),
        (here, MOST_BY_ADDRESS),
    ):
        if session.exec(select(func.count()).where(recent, of)).one() >= most:
            raise TooManyTriesError


def note_failure(session: Session, name: str, address: str) -> None:
    """Notes a sign-in that failed."""
    record(session, FAILED, address=address, detail=normal(name)[:LONGEST_NAME])


def digest(token: str) -> bytes:
    """Returns what is kept of a token; tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).digest()
