"""Entries of the cache: whole or not there, told when they are damaged, and bounded together."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from dignified_jax.data.__main__ import main
from dignified_jax.data.store import cache as cache_module
from dignified_jax.data.store.cache import Cache, clear, sizes, token_directory

PARTS = [np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros((0, 3), np.int32)]
PARTS += [np.full((1, 3), 7, np.int32)]
WHOLE = np.concatenate(PARTS)


def fill(arrays):
    for part in PARTS:
        arrays.append({"ids": part, "empty": np.zeros(0, np.uint8)})
    return {"rows": 3, "pair": (1, 2)}


def never(arrays):
    raise AssertionError("made anew")


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(tmp_path, told):
    return Cache(tmp_path / "cache", 1 << 20, told.append)


def check(entry):
    np.testing.assert_array_equal(entry.arrays["ids"], WHOLE)
    assert entry.arrays["ids"].dtype == np.int32 and entry.arrays["empty"].shape == (0,)
    assert entry.notes == {"rows": 3, "pair": [1, 2]}


def test_an_entry_is_found_as_it_was_made(cache, told, tmp_path):
    assert cache.find("key") is None
    check(cache.make("key", fill))
    check(cache.find("key"))
    assert told == [] and [each.name for each in (tmp_path / "cache").iterdir()] == ["key"]
    assert isinstance(cache.find("key").arrays["ids"], np.memmap)  # not in memory


def test_what_fails_leaves_nothing(cache, tmp_path):
    def fails(arrays):
        fill(arrays)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.make("key", fails)
    assert list((tmp_path / "cache").iterdir()) == [] and cache.find("key") is None


def flip(place):
    content = bytearray((place / "ids.bin").read_bytes())
    content[5] ^= 1
    (place / "ids.bin").write_bytes(content)


def cut(place):
    content = (place / "ids.bin").read_bytes()
    (place / "ids.bin").write_bytes(content[:-3])


DAMAGES = {
    "flipped": flip,
    "cut": cut,
    "gone": lambda place: (place / "ids.bin").unlink(),
    "no index": lambda place: (place / "entry.json").unlink(),
    "half an index": lambda place: (place / "entry.json").write_text('{"files": {'),
    "another index": lambda place: (place / "entry.json").write_text('{"files": []}'),
    "altered notes": lambda place: (place / "entry.json").write_text(
        (place / "entry.json").read_text().replace('"rows": 3', '"rows": 4')
    ),
    "index of a list": lambda place: (place / "entry.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_told_and_made_anew(damage, cache, told, tmp_path):
    cache.make("key", fill)
    DAMAGES[damage](tmp_path / "cache" / "key")
    assert cache.find("key") is None
    assert len(told) == 1 and str(tmp_path / "cache" / "key") in told[0] and "damaged" in told[0]
    check(cache.make("key", fill))
    check(cache.find("key"))


def test_arrays_outlive_the_entry(cache, tmp_path):
    made = cache.make("key", fill)
    found = cache.find("key")
    shutil.rmtree(tmp_path / "cache")
    check(made)
    check(found)


def test_the_entries_used_longest_ago_go(tmp_path, told):
    size = WHOLE.nbytes
    for number in range(3):
        Cache(tmp_path, 10 * size + 3000, told.append).make(f"key{number}", fill)
        os.utime(tmp_path / f"key{number}" / "entry.json", (number + 1, number + 1))
    assert Cache(tmp_path, 1 << 20, told.append).find("key0") is not None  # the newest now
    last = Cache(tmp_path, 2 * sum(f.stat().st_size for f in (tmp_path / "key0").iterdir()), print)
    last.make("key3", fill)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["key0", "key3"]
    small = Cache(tmp_path, 1, told.append)
    check(small.make("key4", fill))  # what a run uses stays for the run
    assert [place.name for place in tmp_path.iterdir()] == ["key4"]
    assert sizes(tmp_path) == [sum(f.stat().st_size for f in (tmp_path / "key4").iterdir())]
    assert clear(tmp_path) == 1 and list(tmp_path.iterdir()) == [] and clear(tmp_path / "no") == 0


def test_what_killed_runs_left_goes_after_a_day(cache, tmp_path):
    for name, age in (("a.x.partial", 2 * 86400), ("b.x.partial", 60)):
        (tmp_path / "cache" / name).mkdir(parents=True)
        when = cache_module.time.time() - age
        os.utime(tmp_path / "cache" / name, (when, when))
    (tmp_path / "cache" / "mine").mkdir()  # not an entry: stays
    cache.make("key", fill)
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["b.x.partial", "key", "mine"]


def test_without_a_directory_all_is_in_memory(told):
    cache = Cache(None, 0, told.append)
    check(cache.make("key", fill))
    assert cache.find("key") is None and told == []


def test_a_directory_that_cannot_be_made_is_told(tmp_path, told):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache", 1 << 20, told.append)
    check(cache.make("key", fill))
    assert len(told) == 1 and "can't be written" in told[0] and "data.cache" in told[0]


def test_a_disk_that_fills_up_costs_the_entry_alone(cache, told, tmp_path, monkeypatch):
    """The second part of an array does not fit: what was written goes on in memory."""
    opened = pathlib.Path.open
    calls = []

    def full(self, mode="r", *arguments, **options):
        if self.name == "ids.bin" and mode == "ab":
            calls.append(self)
            if len(calls) > 1:
                stream = opened(self, mode, *arguments, **options)
                stream.write(b"half")
                stream.close()
                raise OSError(28, "No space left on device")
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", full)
    check(cache.make("key", fill))
    assert len(told) == 1 and "No space left on device" in told[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_index_that_cannot_be_written_costs_the_entry_alone(cache, told, monkeypatch):
    def full(file, content):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(cache_module.atomic, "write_json", full)
    check(cache.make("key", fill))
    assert len(told) == 1 and cache.find("key") is None


def test_two_that_make_the_same_entry_keep_one(tmp_path, told):
    one, two = (Cache(tmp_path, 1 << 20, told.append) for _ in range(2))

    def meanwhile(arrays):
        check(two.make("key", fill))
        return fill(arrays)

    check(one.make("key", meanwhile))
    check(one.find("key"))
    assert told == [] and [place.name for place in tmp_path.iterdir()] == ["key"]


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("DIGNIFIED_JAX_CACHE", str(tmp_path))
    assert token_directory("/given") == pathlib.Path("/given/tokens")
    assert token_directory() == tmp_path / "tokens"
    monkeypatch.delenv("DIGNIFIED_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert token_directory() == pathlib.Path("/cache/dignified_jax/tokens")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert token_directory() == pathlib.Path.home() / ".cache" / "dignified_jax" / "tokens"


def test_the_command_tells_and_clears(cache, tmp_path, capsys):
    kept = Cache(tmp_path / "tokens", 1 << 20, print)
    kept.make("one", fill)
    assert main(["cache", "--cache", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tokens'}: 1 entries, 0.00 GiB\n"
    assert kept.find("one") is not None
    assert main(["cache", "--cache", str(tmp_path), "--clear"]) == 0
    assert capsys.readouterr().out.endswith("\n1 removed\n")
    assert kept.find("one") is None
