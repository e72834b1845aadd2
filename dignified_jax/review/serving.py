"""The server of a review: one process, on this machine's own address unless told otherwise."""

from __future__ import annotations

import ipaddress
import itertools
import sys
import urllib.parse

import uvicorn
from sqlmodel import Session, select

from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.review import accounts
from dignified_jax.review.audit import record
from dignified_jax.review.database import Database, now
from dignified_jax.review.tables import ADMIN, Account, Invitation
from dignified_jax.review.web.app import create_app

_LOCAL = ("127.0.0.1", "localhost", "[::1]")


def serve(database: Database, host: str, port: int, public_url: str | None) -> None:
    """Serves until it is interrupted; prints where, and a link for the first administrator.

    Args:
      host, port: where to listen.
      public_url: where people reach it, if that is not the address itself.
    """
    url = (public_url or f"http://{_bracketed(host)}:{port}").rstrip("/")
    secure = url.startswith("https:")
    names = {*_LOCAL, _bracketed(host), _bracketed(urllib.parse.urlsplit(url).hostname or host)}
    if not (secure or _is_loopback(host)):
        print(
            f"warning: passwords cross the network at {host} unencrypted; listen at 127.0.0.1, put "
            "a proxy with https before it and name it with --public-url",
            file=SafeStream(sys.stderr),
        )
    app = create_app(database, hosts=sorted(names), secure=secure)
    print(f"{database.path}: {url}", flush=True)
    token = _first_link(database)
    if token is not None:
        print(f"to begin, once: {url}/invite/{token}", flush=True)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        # Only a proxy on this machine is believed about whose requests it hands on.
        proxy_headers=public_url is not None,
        forwarded_allow_ips="127.0.0.1",
    )


def _first_link(database: Database) -> str | None:
    """Returns a one-time link of an administrator, made if need be; None where one can sign in.

    Whoever reads the terminal of the server can read the file, too.
    """
    with database.writing() as session:
        found = select(Account).where(Account.role == ADMIN, Account.active).order_by(Account.id)
        admins = session.exec(found).all()
        live = select(Invitation.account_id).where(Invitation.expires > now())
        invited = set(session.exec(live).all())
        if any(account.password_hash or account.id in invited for account in admins):
            return None
        account = admins[0] if admins else _new_administrator(session)
        record(session, "link of an administrator printed", account.id)
        return accounts.invite(session, account)


def _new_administrator(session: Session) -> Account:
    numbers = itertools.count(2)
    name = "admin"
    while accounts.find(session, name) is not None:
        name = f"admin{next(numbers)}"
    return accounts.add(session, name, ADMIN)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
