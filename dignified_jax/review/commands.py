"""Commands of a review: made, served, dealt, exported, measured, copied."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import sys
import urllib.parse
import warnings
from collections.abc import Callable, Sequence

from argon2 import PasswordHasher

from dignified_jax.console.labels import printable_lines
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.console.waiting import waiting
from dignified_jax.data.schema import DIMENSIONS
from dignified_jax.embedded import resolve
from dignified_jax.review import (
    accounts,
    assignment,
    database,
    exporting,
    importing,
    ratings,
    rubric,
)
from dignified_jax.review.audit import record
from dignified_jax.review.database import Database
from dignified_jax.review.serving import serve
from dignified_jax.review.tables import REVIEWER, ROLES
from dignified_jax.typed_config import path_argument

HOST, PORT = "127.0.0.1", 8000
MOST_DAYS = 3650


def run(help_text: str, argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 1 where data or arguments are bad.

    Args:
      help_text: what `--help` says first.
      argv: words of the command line.
    """
    arguments = _parser(help_text).parse_args(argv)
    try:
        # A link is shown once: neither a name that the terminal has no letters for nor a pipe that
        # has closed may stop what prints it.
        with contextlib.redirect_stdout(SafeStream(sys.stdout)):
            arguments.run(arguments)
            sys.stdout.flush()
    except (ValueError, OSError) as error:
        print(printable_lines(f"error: {error}"), file=SafeStream(sys.stderr))
        return 1
    return 0


def _init(arguments: argparse.Namespace) -> None:
    asked = rubric.read(arguments.rubric or rubric.DEFAULT_FILE, arguments.dimensions)
    rows = _read(arguments.files, arguments.dimensions)
    made = database.create(arguments.db, arguments.dimensions, arguments.overlap, asked)
    _add(made, rows, arguments.db)


def _import(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    _add(opened, _read(arguments.files, opened.project.dimensions), arguments.db)


def _read(
    files: Sequence[str], dimensions: Sequence[str]
) -> tuple[list[importing.Rows], importing.Origins]:
    with waiting("reading rows"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = importing.read([resolve(file) for file in files], dimensions)
    for warning in caught:
        print(printable_lines(f"warning: {warning.message}"), file=SafeStream(sys.stderr))
    return found


def _add(opened: Database, found: tuple[list[importing.Rows], importing.Origins], db: str) -> None:
    with waiting("adding rows"):
        added = importing.add(opened, *found)
    known = f"; {added.known} rows were there already" if added.known else ""
    print(f"{db}: {added.rows} rows with {added.pairs} pairs added{known}")


def _invite(arguments: argparse.Namespace) -> None:
    days = arguments.days
    if not 0 < days <= MOST_DAYS:
        raise ValueError(f"--days: expected more than 0 and at most {MOST_DAYS}, found {days:g}")
    opened = Database(arguments.db)
    with opened.writing() as session:
        account = accounts.find(session, arguments.name)
        if account is None:
            account = accounts.add(session, arguments.name, arguments.role or REVIEWER)
        account.role = arguments.role or account.role
        account.active = True
        session.add(account)
        token = accounts.invite(session, account, days)
        detail = f"{account.pseudonym}, {account.role}"
        record(session, "link made on the command line", detail=detail)
    who = f"{account.name} ({account.pseudonym}, {account.role})"
    print(f"{who}, once, within {days:g} days:")
    print(f"{arguments.url.rstrip('/')}/invite/{token}")


def _user(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    password = None
    if arguments.password:
        from_terminal = sys.stdin.isatty()
        try:
            password = getpass.getpass() if from_terminal else sys.stdin.readline().rstrip("\n")
        except EOFError as error:
            raise ValueError("--password: none was given") from error
    with opened.writing() as session:
        account = accounts.find(session, arguments.name)
        if account is None:
            raise ValueError(f"there is no account {arguments.name!r}; `invite` makes one")
        if password is not None:
            accounts.set_password(session, account, password, PasswordHasher())
        if arguments.end:
            accounts.deactivate(session, account)
        done = [word for word, was in (("password set", password), ("ended", arguments.end)) if was]
        record(session, f"account: {', '.join(done)}", detail=account.pseudonym)
    print(f"{account.name} ({account.pseudonym}, {account.role}): {', '.join(done)}")


def _assign(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    with waiting("dealing rows"):
        load = assignment.deal(opened)
    if not load:
        raise ValueError("there are no reviewers; make one with `invite NAME`")
    for pseudonym, number in load.items():
        print(f"{pseudonym}: {number} pairs")
    if len(load) < opened.project.overlap:
        print(f"fewer reviewers than the overlap of {opened.project.overlap}: each has all rows")


def _serve(arguments: argparse.Namespace) -> None:
    serve(Database(arguments.db), arguments.host, arguments.port, arguments.public_url)


def _export(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    with waiting("exporting"), opened.reading() as session:
        done = exporting.export(session, opened.project.dimensions, arguments.out)
    with opened.writing() as session:
        record(session, "export", detail=f"{done.rows} rows, {done.pairs} pairs")
    left = ", ".join(f"{number} {state}" for state, number in sorted(done.left_out.items()))
    print(f"{arguments.out}: {done.rows} rows with {done.pairs} accepted pairs")
    print(f"left out: {left} pairs" if left else "no pair was left out")


def _agreement(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    with opened.reading() as session:
        found = ratings.read(session, opened.project.rubric)
    if not found:
        raise ValueError(f"{arguments.db}: nothing was judged yet")
    with waiting("agreement"):
        agreed = ratings.agreement(found, arguments.replicates, arguments.seed)
    fitted = []
    if arguments.severities:
        with waiting("fitting severities"):
            fitted = ratings.severities(found, opened.project.rubric)
    tables = ratings.tables(agreed, fitted)
    if arguments.json:
        print(json.dumps({table.name: table.json() for table in tables}, indent=2))
    else:
        print("\n\n".join(table.text() for table in tables))


def _backup(arguments: argparse.Namespace) -> None:
    opened = Database(arguments.db)
    opened.backup(arguments.out)
    with opened.writing() as session:
        record(session, "backup")
    print(f"{arguments.out}: a copy of {arguments.db}, checked")


def _parser(help_text: str) -> argparse.ArgumentParser:
    parser = _described(argparse.ArgumentParser(prog="python -m dignified_jax.review"), help_text)
    parser.add_argument("db", type=path_argument, metavar="DB", help="the file of the review")
    commands = parser.add_subparsers(metavar="COMMAND")
    parser.set_defaults(run=_serve, host=HOST, port=PORT, public_url=None)

    def command(
        name: str, run: Callable[[argparse.Namespace], None], help: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        added.set_defaults(run=run)
        return added

    _serve_options(command("serve", _serve, "serve the review, as no command does"))
    init = command("init", _init, "make a review of the rows of files")
    _files(init)
    init.add_argument(
        "--dimensions",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        default=DIMENSIONS,
        metavar="NAME,NAME",
        help=f"what the rejects are of (default: {','.join(DIMENSIONS)})",
    )
    init.add_argument(
        "--overlap", type=int, default=2, metavar="N", help="reviewers of each row (default: 2)"
    )
    init.add_argument(
        "--rubric",
        type=path_argument,
        metavar="FILE",
        help="definitions and statements to tick, as in dignified_jax/review/rubric.yaml",
    )
    _files(command("import", _import, "add rows; those that are there already are left out"))
    invite = command("invite", _invite, "make an account, if there is none, and a one-time link")
    invite.add_argument("name", metavar="NAME")
    invite.add_argument("--role", choices=ROLES, help=f"of the account (default: {REVIEWER})")
    invite.add_argument(
        "--days", type=float, default=accounts.INVITATION_DAYS, help="default: %(default)s"
    )
    invite.add_argument(
        "--url",
        default=f"http://{HOST}:{PORT}",
        help="where people reach the review (default: %(default)s)",
    )
    user = command("user", _user, "set an account's password, or end the account")
    user.add_argument("name", metavar="NAME")
    what = user.add_mutually_exclusive_group(required=True)
    what.add_argument("--password", action="store_true", help="asked for, or a line of the input")
    what.add_argument("--end", action="store_true", help="what the account judged stays")
    command("assign", _assign, "deal rows that nobody has begun to the reviewers")
    export = command("export", _export, "write the accepted rows, with who did what and when")
    export.add_argument("out", type=path_argument, metavar="OUT", help=".jsonl or .parquet")
    agree = command("agreement", _agreement, "print kappas and alpha of the reviewers")
    agree.add_argument(
        "--severities", action="store_true", help="fit the reviewers' severities as well (mfrm)"
    )
    agree.add_argument(
        "--replicates", type=int, default=500, metavar="N", help="of the bootstrap (default: 500)"
    )
    agree.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    agree.add_argument("--json", action="store_true", help="print JSON instead of text")
    backup = command("backup", _backup, "copy the review to a file, also while it is served")
    backup.add_argument("out", type=path_argument, metavar="OUT")
    return parser


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        type=path_argument,
        metavar="FILE",
        help="rows with golden and reject_NAME: .jsonl, .parquet, .csv or embedded:NAME",
    )


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default=HOST, help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    parser.add_argument(
        "--public-url",
        type=_url,
        metavar="URL",
        help="where people reach it through a proxy, as https://review.example.org",
    )


def _url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise argparse.ArgumentTypeError(f"expected http(s)://NAME, found {text!r}")
    return text


def _described(parser: argparse.ArgumentParser, text: str) -> argparse.ArgumentParser:
    parser.description = text
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser
