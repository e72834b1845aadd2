"""Sources as shells and office programs write them, and bounded work on any of them."""

import json
import time

import pytest

from dignified_jax.data import BadRowsError, read_rows

ROW = {"prompt": "p?", "golden": "g", "mask": ["A"], "reject_A": "a"}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "name, content",
    [
        ("array.json", json.dumps([ROW, ROW], indent=1)),
        ("upper.JSONL", (json.dumps(ROW) + "\n") * 2),
        ("utf16.jsonl", ((json.dumps(ROW) + "\n") * 2).encode("utf-16")),
        ("utf16.csv", "prompt,golden,mask,reject_A\np?,g,A,a\np?,g,A,a\n".encode("utf-16")),
    ],
)
def test_rows_are_read(name, content, tmp_path):
    rows = read_rows(write(tmp_path / name, content))
    assert [(row.prompt, row.golden, row.rejects, row.row) for row in rows] == [
        ("p?", "g", {"A": "a"}, 1),
        ("p?", "g", {"A": "a"}, 2),
    ]
    assert rows[0].file == str(tmp_path / name)


def test_what_is_no_data_is_told_in_a_line(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match=r"a\.jsonl: a Git LFS pointer"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "saved").mkdir()
    write(tmp_path / "saved" / "state.json", "{}")
    with pytest.raises(ValueError, match="saved: a folder of save_to_disk"):
        read_rows(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="saved/train: no such file"):
        read_rows("saved/train")


def test_messages_and_work_are_bounded(tmp_path):
    pairs = ", ".join(f'"k{n}": 0' for n in range(60_000)) + ', "k59999": 1'
    twice = write(tmp_path / "twice.jsonl", "{" + pairs + "}\n")
    wide = write(tmp_path / "wide.csv", ",".join(f"c{n}" for n in range(20_000)) + "\n")
    missing = write(tmp_path / "missing.jsonl", (json.dumps({"prompt": "p" * 5000}) + "\n") * 2000)
    started = time.process_time()
    for file in (twice, wide, missing):
        with pytest.raises(BadRowsError) as caught:
            read_rows(file)
        assert len(str(caught.value)) < 100_000
    assert time.process_time() - started < 5
    assert len(caught.value.problems) == 4000 and str(caught.value).endswith("and 3900 more")
