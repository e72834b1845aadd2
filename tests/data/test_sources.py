"""Sources as shells and office programs write them, and bounded work on any of them."""

import codecs
import csv
import gzip
import io
import json
import pathlib
import random
import re
import tempfile
import time
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dignified_jax.console.waiting import uncounted
from dignified_jax.data import BadRowsError, read_rows
from dignified_jax.data.sources import json_array, read_records, stream_records
from dignified_jax.data.sources import text as text_source
from dignified_jax.data.sources.text import text_lines

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


def packed(content, level=9):
    """Bytes of gzip that are the same at any time, as names of tests have to be."""
    return gzip.compress(content, level, mtime=0)


LINES = (json.dumps(ROW) + "\n") * 2
TABLE = "prompt,golden,mask,reject_A\np?,g,A,a\np?,g,A,a\n"


@pytest.mark.parametrize(
    "name, content",
    [
        ("rows.jsonl.gz", packed(LINES.encode())),
        ("rows.JSON.GZ", packed(json.dumps([ROW, ROW]).encode())),
        ("rows.csv.gz", packed(TABLE.encode("utf-16"))),
        (
            "members.jsonl.gz",
            b"".join(packed(part.encode()) for part in LINES.partition("g")),
        ),
        ("no_ending.jsonl", packed(LINES.encode())),
        ("expanded_already.jsonl.gz", LINES),
    ],
)
def test_gzip_is_read(name, content, tmp_path):
    rows = read_rows(write(tmp_path / name, content))
    assert [(row.prompt, row.golden, row.rejects, row.row) for row in rows] == [
        ("p?", "g", {"A": "a"}, 1),
        ("p?", "g", {"A": "a"}, 2),
    ]


WHOLE = packed(random.Random(0).randbytes(4000))


@pytest.mark.parametrize(
    "content, message",
    [
        (WHOLE[:-500], "gzip data that is cut"),
        (WHOLE[:-3], "gzip data that is cut"),
        (WHOLE[:5], "gzip data that is cut"),
        (WHOLE[:2000] + b"x" + WHOLE[2001:], "not readable as gzip data"),
        (b"\x1f\x8bno such method", "not readable as gzip data"),
        (lambda: packed(b" " * (257 << 20), 1), "bytes that expand to more than 268435456"),
        (lambda: packed(b"x\n" * 1_000_000), r"gzip data of 1000000 lines"),
    ],
    ids=["cut", "checksum cut", "header cut", "damaged", "no gzip", "long", "many lines"],
)
def test_gzip_that_is_damaged_or_expands_is_told_in_a_line(content, message, tmp_path):
    file = write(tmp_path / "a.jsonl.gz", content() if callable(content) else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet_is_read_in_batches_as_it_stands(tmp_path):
    """Equal and unequal texts, missing ones, large and binary types, lists, and numbers."""
    count = 2500
    texts = [None if n % 7 == 0 else f"text {n % 3} é" if n % 2 else f"{n}" for n in range(count)]
    columns = {
        "prompt": texts,
        "golden": pa.array(texts, pa.large_string()),
        "mask": [None if n % 5 == 0 else ["A"] * (n % 3) for n in range(count)],
        "bytes": [None if text is None else text.encode() for text in texts],
        "coded": pa.array(texts).dictionary_encode(),
        "a.dot": [{"x": text} for text in texts],
        "number": list(range(count)),
    }
    file = parquet(tmp_path / "a.parquet", columns, row_group_size=700)
    records = read_records(file)
    assert [record.row for record in records] == list(range(1, count + 1))
    assert [record.columns for record in records] == pq.read_table(file).to_pylist()


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": pa.DictionaryArray.from_arrays(pa.repeat(0, 6000), ["x" * 1_000_000])},
        {"prompt": pa.nulls(5_000_000, pa.string())},
        {
            "prompt": ["p"],
            "other": pa.ListArray.from_arrays([0, 8_000_000], pa.repeat(0, 8_000_000)),
        },
    ],
    ids=["equal texts", "rows", "one long list"],
)
def test_parquet_that_expands_is_refused_before_memory_is_used(columns, tmp_path):
    rows = len(columns["prompt"])
    empty = {name: pa.nulls(rows, pa.string()) for name in ("golden", "mask")}
    file = parquet(tmp_path / "a.parquet", {**columns, **empty}, compression="zstd")
    assert file.stat().st_size < 100_000
    del columns
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.parquet: \d+ bytes that expand to more") as caught:
        read_rows(file)
    assert tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() < 300 << 20
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_files_of_a_directory_that_disagree_are_told_in_a_line(tmp_path):
    (tmp_path / "rows").mkdir()
    write(tmp_path / "rows" / "train-0.jsonl", json.dumps({**ROW, "reject_E": None}) + "\n")
    write(tmp_path / "rows" / "train-1.jsonl", json.dumps({**ROW, "reject_E": "e"}) + "\n")
    with pytest.raises(ValueError, match=r"rows: .* differ in the type of a column") as caught:
        read_rows(tmp_path / "rows")
    assert "\n" not in str(caught.value)


@given(
    st.lists(st.sampled_from([b"a", b" ", b"\t", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\x0b", b"b"]))
)
@settings(deadline=None, derandomize=True, database=None)
def test_lines_of_a_stream_are_those_of_the_whole_text(pieces):
    """White space at the end goes, blank lines inside stay, a mark at the beginning goes."""
    content = b"".join(pieces)
    whole = content.removeprefix(codecs.BOM_UTF8).rstrip()
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(content)
        file.flush()
        found = list(text_lines("rows", pathlib.Path(file.name), uncounted))
    assert found == (whole.split(b"\n") if whole else [])


def _array(text, piece, monkeypatch):
    monkeypatch.setattr(json_array, "_PIECE", piece)
    return list(json_array.elements(io.StringIO(text), dict))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=4), st.integers(1, 9), st.sampled_from([None, 1]), st.data())
@settings(
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_elements_of_an_array_are_those_of_json(monkeypatch, values, piece, indent, data):
    """However the text is cut into pieces; and what is broken is refused, as json refuses it."""
    text = f" {json.dumps(values, indent=indent)}\n "
    assert _array(text, piece, monkeypatch) == values
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(st.sampled_from(["", "]", ",", "1", '"'])) + text[at + 1 :]
    try:
        expected = json.loads(broken)
    except ValueError:
        expected = None
    if isinstance(expected, list):
        assert _array(broken, piece, monkeypatch) == expected
    else:
        with pytest.raises(json_array.ArrayError):
            _array(broken, piece, monkeypatch)


@pytest.mark.parametrize(
    "content, said",
    [
        (b'[{"a": 1}, {"a": }]', "element 2: Expecting value"),
        (b'[{"a": 1} {"a": 2}]', "element 2: expected ',', found '{'"),
        (b'[{"a": 1}', "element 2: expected ',', found 'the end'"),
        (b'[{"a": 1, "a": 2}]', "element 1: key 'a' occurs twice"),
        (b'[{"a": "\xff"}]', "element 1: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "element 1: maximum recursion depth"),
        (b"\xff\xfe[\x00]", "not readable as UTF-16: truncated data"),
    ],
    ids=["value", "comma", "end", "twice", "bytes", "deep", "utf16"],
)
def test_a_broken_array_is_told_in_a_line(content, said, tmp_path):
    file = write(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.json", "a.jsonl.gz", "a.jsonl"])
def test_files_of_any_size_are_read_in_little_memory(name, tmp_path, monkeypatch):
    """Of 6 MB no more than some small pieces are held, and all is counted."""
    monkeypatch.setattr(text_source, "_PIECE", 1 << 16)
    monkeypatch.setattr(json_array, "_PIECE", 1 << 16)
    count, rng = 400, random.Random(0)
    rows = [{"prompt": rng.randbytes(8000).hex(), "golden": "g\n"} for _ in range(count)]
    if ".csv" in name:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode()
    elif ".jsonl" in name:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        content = json.dumps(rows).encode()
    file = write(tmp_path / name, gzip.compress(content, 1) if name.endswith("gz") else content)
    del rows, content
    counted = []
    tracemalloc.start()
    records = stream_records(file, count=lambda done, total: counted.append((done, total)))
    found = sum(record.columns["golden"] == "g\n" for record in records)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == count and most < 1 << 20
    size = file.stat().st_size
    assert counted[-1] == (size, size) and counted == sorted(counted) and len(counted) > 1
