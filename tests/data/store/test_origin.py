"""Contents of sources: equal where every byte is, by whichever pieces were read."""

import json
import random

import pytest

from dignified_jax.data.store import origin


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(origin, "PIECE", 10)


def content(path, **options):
    (found,) = origin.contents([path], **options)
    return found


def test_every_byte_and_name_counts(tmp_path):
    file = tmp_path / "rows.jsonl"
    seen = set()
    for data in (b"", b"0" * 10, b"0" * 11, b"0" * 25, b"0" * 24 + b"1", b"1" + b"0" * 24):
        file.write_bytes(data)
        seen.add(content(file).digest())
        assert sum(size for _, size, _ in content(file).files) == len(data)
    assert len(seen) == 6
    inside = tmp_path / "folder"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "a").write_bytes(b"1")
    (inside / "b").write_bytes(b"2")
    before = content(inside).digest()
    (inside / "b").rename(inside / "c")
    assert content(inside).digest() != before
    assert content(tmp_path / "no") is None


def test_processes_that_share_the_pieces_find_a_difference_between_them(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    data = random.Random(0).randbytes(95)
    one.write_bytes(data)
    whole = content(one)
    assert origin.Content.of(json.loads(json.dumps(whole.files))) == whole
    shares = [lambda number, pieces, p=p: number % 3 == p for p in range(3)]
    for at in range(0, 95, 7):
        other.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        read = [content(other, wanted=share) for share in shares]
        differ = [whole.read_by(each) != each for each in read]
        assert differ == [at // 10 % 3 == p for p in range(3)]
        assert all(
            whole.read_by(content(one, wanted=share)) == content(one, wanted=share)
            for share in shares
        )
    other.write_bytes(data + b"1")  # another size is told by whoever reads nothing of it
    nothing = content(other, wanted=lambda number, pieces: False)
    assert whole.read_by(nothing) != nothing
    counted = []
    origin.contents([one], lambda *told: counted.append(told), shares[1])
    assert counted[-1] == (95, 95)
