"""Sessions of signed-in browsers, and the tokens that tell our own forms from forged ones."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets

from sqlmodel import Session, delete

from dignified_jax.review.accounts import digest
from dignified_jax.review.database import moment, now
from dignified_jax.review.tables import Account, LoginSession

LIFETIME = datetime.timedelta(hours=12)


def new_token() -> str:
    """Returns a random cookie; of a browser that is not signed in, nothing else is kept."""
    return secrets.token_urlsafe(32)


def begin(session: Session, account: Account, former: str) -> str:
    """Signs a browser in and returns its new cookie; the former one means nothing any more."""
    end(session, former)
    session.exec(delete(LoginSession).where(LoginSession.expires < now()))
    token = new_token()
    session.add(LoginSession(digest=digest(token), account_id=account.id, expires=moment(LIFETIME)))
    return token


def end(session: Session, token: str) -> None:
    """Signs a browser out."""
    session.exec(delete(LoginSession).where(LoginSession.digest == digest(token)))


def account_of(session: Session, token: str) -> Account | None:
    """Returns whose cookie it is; None where nobody is signed in with it."""
    found = session.get(LoginSession, digest(token))
    if found is None or found.expires < now():
        return None
    account = session.get_one(Account, found.account_id)
    return account if account.active else None


def form_token(secret: bytes, token: str) -> str:
    """Returns the word that a form has to carry, which only pages of this cookie know."""
    return hmac.new(secret, f"form {token}".encode(), hashlib.sha256).hexdigest()


def is_ours(secret: bytes, token: str, word: str) -> bool:
    """Returns whether a form carries the word of this cookie."""
    return hmac.compare_digest(form_token(secret, token).encode(), word.encode())
