"""The file of a review: what it refuses to open, who may read it, copies while it is written."""

import contextlib
import sqlite3
import stat
import threading

import pytest
import sqlalchemy
from sqlmodel import select

from dignified_jax.review import audit, database, rubric
from dignified_jax.review.tables import AuditEntry, Row

pytestmark = pytest.mark.wiring


def test_only_the_owner_may_read_the_file_and_its_copy(review, tmp_path):
    for name in ("new.db", "a b?mode=memory&x=%20#.db"):
        database.create(tmp_path / name, ("A",), 1, rubric.Questionnaire({}, {})).close()
    review.backup(tmp_path / "copy.db")
    for name in ("new.db", "a b?mode=memory&x=%20#.db", "copy.db"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_nothing_is_replaced(review, tmp_path):
    with pytest.raises(FileExistsError, match="is there already; add rows with `import`"):
        database.create(review.path, ("A",), 1, rubric.Questionnaire({}, {}))
    with pytest.raises(FileExistsError, match="a backup replaces nothing"):
        review.backup(review.path)
    with pytest.raises(ValueError, match="overlap: expected at least 1, found 0"):
        database.create(tmp_path / "new.db", ("A",), 0, rubric.Questionnaire({}, {}))


def test_other_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such review; make one with .* init FILE"):
        database.Database(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(ValueError, match="found no readable database"):
        database.Database(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(ValueError, match="expected a review, found another database"):
        database.Database(tmp_path / "other.db")


def test_a_later_format_is_told(review):
    review.close()
    with sqlite3.connect(review.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="expected format 1 of a review, found 99"):
        database.Database(review.path)


def test_the_file_is_durable_and_checks_its_references(review):
    with review.reading() as session:
        found = [
            session.execute(sqlalchemy.text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]  # 2 is FULL: a write is on disk when it is acknowledged


def test_what_fails_midway_leaves_nothing(review):
    def fail():
        with review.writing() as session:
            audit.record(session, "half")
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with review.reading() as session:
        assert session.exec(select(AuditEntry).where(AuditEntry.action == "half")).all() == []


def test_a_backup_holds_one_moment_of_a_review_that_is_written(review, tmp_path):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            with review.writing() as session:  # two entries at a time
                audit.record(session, "one")
                audit.record(session, "other")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            review.backup(tmp_path / f"copy{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        copy = database.Database(tmp_path / f"copy{number}.db")
        with copy.reading() as session:
            counts = [
                len(session.exec(select(AuditEntry).where(AuditEntry.action == name)).all())
                for name in ("one", "other")
            ]
            assert counts[0] == counts[1]
            assert len(session.exec(select(Row)).all()) == 4
        assert copy.project == review.project
        copy.close()


def test_writers_wait_for_each_other(review):
    def write():
        for _ in range(10):
            with review.writing() as session:
                audit.record(session, "many")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with review.reading() as session:
        assert len(session.exec(select(AuditEntry).where(AuditEntry.action == "many")).all()) == 80


def test_what_sqlite_cannot_do_is_an_error_that_names_the_file(review, tmp_path, monkeypatch):
    review.close()
    with contextlib.closing(sqlite3.connect(review.path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'row'")
    content = bytearray(review.path.read_bytes())
    at = 4096 * (page[0] - 1)
    content[at : at + 4096] = b"\x5a" * 4096
    (tmp_path / "damaged.db").write_bytes(content)
    damaged = database.Database(tmp_path / "damaged.db")
    for what, use in (("read", damaged.reading), ("saved", damaged.writing)):
        with (
            pytest.raises(OSError, match=rf"damaged\.db: not {what}: .*malformed"),
            use() as session,
        ):
            session.exec(select(Row)).all()
    with pytest.raises(OSError, match=r"damaged\.db"):
        damaged.backup(tmp_path / "copy.db")
    damaged.close()

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database.sqlite3, "connect", full)
    with pytest.raises(OSError, match=r"review\.db: not copied to .*copy\.db: .* disk is full"):
        review.backup(tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy.db*"))


def test_a_review_that_cannot_be_made_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database.SQLModel.metadata, "create_all", full)
    with pytest.raises(OSError, match=r"new\.db: not made: database or disk is full"):
        database.create(tmp_path / "new.db", ("A",), 1, rubric.Questionnaire({}, {}))
    assert not list(tmp_path.glob("new.db*"))
