"""The server of a review: one process, on this machine's own address unless told otherwise."""

from __future__ import annotations

import ipaddress
import sys
import urllib.parse

import uvicorn
from sqlmodel import select

from dignified_jax.review import accounts
from dignified_jax.review.audit import record
from dignified_jax.review.database import Database
from dignified_jax.review.tables import ADMIN, Account
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
            file=sys.stderr,
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
    """Makes the first administrator, where there is none, and returns its one-time link."""
    with database.writing() as session:
        admins = select(Account).where(Account.role == ADMIN, Account.active)
        if session.exec(admins).first() is not None:
            return None
        account = accounts.find(session, "admin") or accounts.add(session, "admin", ADMIN)
        account.role, account.active = ADMIN, True
        session.add(account)
        record(session, "first administrator", account.id)
        return accounts.invite(session, account)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
