"""The SQLite file of a review: opened with checks, written in short transactions, copied live."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import sqlalchemy
from sqlmodel import Session, SQLModel

from dignified_jax.data.schema import check_dimensions
from dignified_jax.files import atomic
from dignified_jax.review.rubric import Questionnaire
from dignified_jax.review.tables import Setting

APPLICATION_ID = 0x44494752
"""What tells these files from other SQLite databases: "DIGR"."""
FORMAT = 1
_WAIT_SECONDS = 20
_BEGIN = "begin"


@dataclasses.dataclass(frozen=True)
class Project:
    """Facts about a review as a whole.

    Attributes:
      dimensions: of its rows.
      overlap: how many reviewers judge each row.
      rubric: what they are asked.
      secret: key of blinded orders and of form tokens; never shown.
    """

    dimensions: tuple[str, ...]
    overlap: int
    rubric: Questionnaire
    secret: bytes


class Database:
    """An open review. Connections are made as threads need them; `close` ends them.

    Attributes:
      path: of the file.
      project: what it is about.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the file that `create` made.

        Raises:
          FileNotFoundError: there is none.
          ValueError: it is no review, or of a later version of this program.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{path}: no such review; make one with `python -m dignified_jax.review {path} "
                "init FILE`"
            )
        _check(self.path)
        self._engine = _engine(self.path)
        with self.reading() as session:
            values = {s.name: s.value for s in session.exec(sqlalchemy.select(Setting)).scalars()}
        self.project = Project(
            tuple(values["dimensions"]),
            values["overlap"],
            Questionnaire.from_object(values["rubric"], str(path)),
            bytes.fromhex(values["secret"]),
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the file, whatever others write meanwhile.

        Raises:
          OSError: the file is damaged, or can't be read.
        """
        with _told(self.path, "not read"), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that alone may write; on leaving, what was written is on disk, or none of it.

        Raises:
          OSError: the disk is full or can't be written, the file is damaged, or another holds it
            for too long.
        """
        engine = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        with _told(self.path, "not saved"), Session(engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def backup(self, target: str | Path) -> None:
        """Writes a copy of this moment, whole or not at all, while others read and write.

        Raises:
          FileExistsError: something lies at `target`.
          OSError: it can't be written, or this file is damaged.
        """
        target = Path(target)
        if target.exists():
            raise FileExistsError(f"{target}: is there already; a backup replaces nothing")
        with (
            _told(self.path, f"not copied to {target}"),
            atomic.replacing(target) as partial,
            contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS)) as source,
        ):
            _touch_private(partial)
            with contextlib.closing(sqlite3.connect(partial)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
                (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
                if verdict != "ok":
                    raise OSError(f"{self.path}: damaged: {verdict}")

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def create(
    path: str | Path, dimensions: tuple[str, ...], overlap: int, rubric: Questionnaire
) -> Database:
    """Makes the file of a new review, which only its owner can read, and opens it.

    Raises:
      FileExistsError: something lies there.
      ValueError: names that are no dimensions, or an overlap below 1.
      OSError: it can't be written; nothing is left of it then.
    """
    path = Path(path)
    names = check_dimensions(dimensions)
    if overlap < 1:
        raise ValueError(f"overlap: expected at least 1, found {overlap}")
    try:
        _touch_private(path)
    except FileExistsError as error:
        raise FileExistsError(
            f"{path}: is there already; add rows with `import`, or choose another name"
        ) from error
    values = {
        "dimensions": list(names),
        "overlap": overlap,
        "rubric": rubric.as_object(),
        "secret": secrets.token_hex(32),
    }
    try:
        with _told(path, "not made"):
            _fill(path, values)
    except BaseException:
        for end in ("", "-wal", "-shm"):  # what is half made would be refused for ever
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        raise
    return Database(path)


def _fill(path: Path, values: Mapping[str, object]) -> None:
    """Makes the tables of an empty file, and its settings."""
    engine = _engine(path)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")
            SQLModel.metadata.create_all(connection)
            rows = [{"name": name, "value": value} for name, value in values.items()]
            connection.execute(sqlalchemy.insert(Setting), rows)
    finally:
        engine.dispose()


def now() -> str:
    """Returns this moment in UTC; the texts sort as the moments do."""
    return moment(datetime.timedelta())


def moment(from_now: datetime.timedelta) -> str:
    """Returns the moment so long from now, as `now` has it."""
    at = datetime.datetime.now(datetime.UTC) + from_now
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextlib.contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Makes an OSError that names the file of what SQLite can't do with it, such as one that is
    damaged or on a full disk."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, sqlite3.Error) as error:
        cause = getattr(error, "orig", error)
        if type(cause) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            raise  # a mistake of ours, such as what the tables forbid
        raise OSError(f"{path}: {what}: {cause}") from error


def _touch_private(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _check(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path}: expected a review, found no readable database: {error}"
        ) from error
    if application != APPLICATION_ID:
        raise ValueError(f"{path}: expected a review, found another database")
    if version != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT} of a review, found {version}")


def _engine(path: Path) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite+pysqlite", database=str(path.absolute())),
        connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
        pool_size=8,
        max_overflow=40,
    )

    @sqlalchemy.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine
