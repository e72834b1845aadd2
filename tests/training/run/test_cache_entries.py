"""Entries of the compilation cache: what is cut, altered or swapped is removed, once."""

import importlib.util
import os
import zlib

import pytest

from dignified_jax.training.run import cache_entries


def entries(cache):
    return sorted(cache.glob("*-cache"))


def damaged_forms(content):
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    return {"empty": b"", "cut": content[:-1], "flipped": flipped}


def test_only_unreadable_entries_are_removed(tmp_path):
    whole = zlib.compress(os.urandom(1000))
    forms = damaged_forms(whole) | {"other": b"anything else"}
    for name, content in (forms | {"whole": whole}).items():
        (tmp_path / f"{name}-cache").write_bytes(content)
    (tmp_path / "notes.txt").write_bytes(b"not of the cache")
    assert cache_entries.remove_damaged(tmp_path) == len(forms)
    assert [entry.name for entry in entries(tmp_path)] == ["whole-cache"]
    assert (tmp_path / "notes.txt").exists()
    assert cache_entries.remove_damaged(tmp_path) == 0


def test_an_entry_is_read_once_until_it_changes(tmp_path, monkeypatch):
    entry = tmp_path / "one-cache"
    entry.write_bytes(zlib.compress(b"program"))
    cache_entries.remove_damaged(tmp_path)
    monkeypatch.setattr(cache_entries, "_whole", lambda content: pytest.fail("read again"))
    assert cache_entries.remove_damaged(tmp_path) == 0
    monkeypatch.undo()
    entry.write_bytes(b"half")
    assert cache_entries.remove_damaged(tmp_path) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None, reason="JAX uses zstandard where it is installed"
)
def test_entries_of_zstandard(tmp_path):
    import zstandard

    whole = zstandard.ZstdCompressor().compress(os.urandom(1000))
    (tmp_path / "whole-cache").write_bytes(whole)
    (tmp_path / "cut-cache").write_bytes(whole[:-1])
    assert cache_entries.remove_damaged(tmp_path) == 1
    assert [entry.name for entry in entries(tmp_path)] == ["whole-cache"]


def two_entries(directory):
    found = []
    for name in ("one", "two"):
        found.append(directory / f"{name}-cache")
        found[-1].write_bytes(zlib.compress(name.encode()))
    cache_entries.record(directory)
    return found


def exchanged(one, two):
    """Times and sizes of the files stay as they were."""
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def test_swapped_entries_are_removed(tmp_path):
    one, two = two_entries(tmp_path)
    exchanged(one, two)
    assert cache_entries.remove_damaged(tmp_path) == 2
    assert entries(tmp_path) == []


def test_an_entry_with_another_ones_content_is_removed(tmp_path):
    one, two = two_entries(tmp_path)
    status = two.stat()
    two.write_bytes(one.read_bytes())
    os.utime(two, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache_entries.remove_damaged(tmp_path) == 1
    assert entries(tmp_path) == [one]
    two.write_bytes(zlib.compress(b"compiled anew"))
    assert cache_entries.remove_damaged(tmp_path) == 0


def test_an_entry_that_was_deleted_may_come_back_otherwise(tmp_path):
    one, _ = two_entries(tmp_path)
    one.unlink()
    cache_entries.remove_damaged(tmp_path)
    one.write_bytes(zlib.compress(b"compiled anew"))
    assert cache_entries.remove_damaged(tmp_path) == 0


def test_copies_of_a_cache_are_whole(tmp_path):
    one, two = two_entries(tmp_path)
    for entry in (one, two):
        copy = entry.with_name("copy")
        copy.write_bytes(entry.read_bytes())
        copy.rename(entry)
    assert cache_entries.remove_damaged(tmp_path) == 0


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"one-cache": 3}', '{"one-cache": ["a", 1]}'])
def test_a_damaged_file_of_digests_is_written_anew(content, tmp_path):
    one, two = two_entries(tmp_path)
    (tmp_path / cache_entries.DIGESTS_FILE).write_text(content)
    assert cache_entries.remove_damaged(tmp_path) == 0
    exchanged(one, two)
    assert cache_entries.remove_damaged(tmp_path) == 2


def test_taking_digests_removes_nothing(tmp_path):
    (tmp_path / "half-cache").write_bytes(b"half")  # another run may be writing it
    cache_entries.record(tmp_path)
    assert len(entries(tmp_path)) == 1
    assert cache_entries.remove_damaged(tmp_path) == 1
