"""Rating files of every kind: the same columns, or one line that names file and cure."""

import gzip
import json
import os

import pytest

from dignified_jax import mfrm

ROWS = [
    {"model": m, "question": f"q{q}", "judge": j, "rubric": "r", "score": (q + (m == "a")) % 2}
    for m in "ab"
    for q in range(3)
    for j in "xy"
]
NAMES = list(ROWS[0])


def text(delimiter=",", rows=ROWS):
    lines = [NAMES, *([str(row[n]) for n in NAMES] for row in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def written(path, content, encoding="utf-8"):
    data = content if isinstance(content, bytes) else content.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def assert_same(found):
    expected = mfrm.from_long(ROWS)
    assert (found.successes == expected.successes).all()
    assert (found.trials == expected.trials).all() and found.labels == expected.labels


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("t.CSV", text(), "utf-8"),
        ("t.csv", text(";"), "utf-8"),
        ("t.csv", text("\t"), "utf-8"),
        ("t.tsv", text(","), "utf-8"),
        ("t.csv", text(), "utf-16"),
        ("t.csv.gz", text(), "utf-8-sig"),
        ("t.jsonl", "\n".join(map(json.dumps, ROWS)), "utf-8"),
        ("t.JSONL.gz", "\n\n".join(map(json.dumps, ROWS)), "utf-8"),
        ("t.json", json.dumps(ROWS), "utf-8"),
        ("t.json", json.dumps({n: [row[n] for row in ROWS] for n in NAMES}), "utf-8"),
    ],
)
def test_files_of_every_kind(tmp_path, name, content, encoding):
    assert_same(mfrm.from_long(written(tmp_path / name, content, encoding)))


def test_frames(tmp_path):
    assert_same(mfrm.from_long(ROWS))
    datasets = pytest.importorskip("datasets")
    assert_same(mfrm.from_long(datasets.Dataset.from_list(ROWS)))


def test_polars():
    polars = pytest.importorskip("polars")
    assert_same(mfrm.from_long(polars.DataFrame(ROWS)))
    assert_same(mfrm.from_long(polars.DataFrame(ROWS).lazy()))


def test_values_of_arrays_without_axes():
    """As data sets give them that are formatted for PyTorch, whose equal tensors differ."""
    torch = pytest.importorskip("torch")
    numbered = [row | {"question": torch.tensor(int(row["question"][1:]))} for row in ROWS]
    found = mfrm.from_long(numbered)
    assert found.labels["question"] == tuple(sorted({int(r["question"][1:]) for r in ROWS}))
    columns = {name: [row[name] for row in numbered] for name in NAMES}
    assert mfrm.from_long(columns).labels == found.labels


def test_a_field_of_any_length(tmp_path):
    """A judge's reasoning, beyond the standard library's 128 kB."""
    lines = [f"{line},{'x' * (200_000 if i == 3 else 3)}" for i, line in enumerate(text().split())]
    assert_same(mfrm.from_long(written(tmp_path / "t.csv", "\n".join(lines))))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv.gz", gzip.compress(text().encode(), mtime=0)[:-20], "damaged or truncated gzip"),
        ("t.csv.gz", b"no gzip at all", "damaged or truncated gzip"),
        ("t.csv", text().replace("a", "\u00e4").encode("latin-1"), "0xe4 is not UTF-8.*iconv"),
        ("t.csv", text().encode("utf-16-le"), "not UTF-8 text .UTF-16"),
        ("t.csv", text().replace("rubric", "score"), "2 columns 'score': rename"),
        ("t.csv", text() + 'a,q0,x,r,"1\n', "line 14: unexpected end of data"),
        ("t.csv", ",".join(f"c{n}" for n in range(20_000)), "has no column 'model'.*20000"),
        ("t.jsonl", '{"model": 1', "line 1: not JSON"),
        ("t.jsonl", "[1, 2]", "line 1: expected an object"),
        ("t.json", "3", "expected a list of objects"),
        ("t.json", "[" * 100_000, "not JSON"),
        (
            "t.jsonl",
            '{"model": "a", "score": 1, "score": 0}',
            "line 1: not JSON: 'score' stands twice",
        ),
        ("t.json", '{"model": [], "x": {"y": 1, "y": 2}}', "not JSON: 'y' stands twice"),
        ("t.json", json.dumps({n: [1] * (1 + (n == "score")) for n in NAMES}), "differ in length"),
        ("t.csv", "model,question,judge,rubric,score\n", "has no rows"),
        ("t.csv", text() + "a,q0,x,r,2024-01-05\n", "score is not a finite number: row 13"),
        ("t.csv", text() + "a,q0,x,,1\n", "rubric is missing: row 13"),
        ("t.parquet", b"PAR1 nothing", "not a readable Parquet file"),
        ("t.csv", b"", "is empty: it has no column 'model'"),
        ("t.csv", b"\n\n", "is empty: it has no column 'model'"),
        ("t.jsonl", b"", "is empty: it has no column 'model'"),
        ("t.json", b" ", "is empty"),
        ("t.csv", text().title(), "no column 'model', .*; name 'Model' as it is spelt there"),
        ("t.csv", gzip.compress(b"", mtime=0), "not text but gzip: let its name end in .gz"),
        ("t.csv", b"PK\x03\x04\0\0", "not text but a zip or Excel file: .* export it as CSV"),
        ("t.xlsx", b"PK\x03\x04\0\0", r"expected \.csv.*; this is a zip or Excel file"),
        ("t.csv.zst", b"\x28\xb5\x2f\xfd", r"expected \.csv.*; this is zstd: decompress it"),
        ("t.jsonl", "[{}]", r"line 1: expected an object .*let the name end in \.json"),
        ("t.json", "{}\n{}\n", r"Extra data.*JSON Lines\? let the name end in \.jsonl"),
    ],
)
def test_damaged_files_are_named_in_a_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as error:
        mfrm.from_long(path, rubric="score" if "rename" in message else "rubric")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: is not a regular file"):
        mfrm.from_long(tmp_path / name)


def test_parquet_with_a_doubled_column(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [arrow.array([row[n] for row in ROWS]) for n in NAMES]
    parquet.write_table(
        arrow.Table.from_arrays([*columns, columns[-1]], names=[*NAMES, "score"]),
        tmp_path / "t.parquet",
    )
    with pytest.raises(ValueError, match="2 columns 'score'"):
        mfrm.from_long(tmp_path / "t.parquet")


def test_more_rows_than_memory_are_refused(tmp_path, monkeypatch):
    """A small Parquet file can claim any number of rows."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    monkeypatch.setattr("dignified_jax.mfrm.input.memory.machine_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"12 rows: about 3\.8 KiB of memory needed"):
        mfrm.from_long(tmp_path / "t.parquet")
