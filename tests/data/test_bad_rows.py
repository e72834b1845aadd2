"""Rows that can't be used: what is said of them, and how they are set aside."""

import base64
import json
import warnings

import pytest

from dignified_jax.data import read_rows
from tests.data.row_files import (
    RECORDS,
    problems_of,
    record,
    write_jsonl,
    write_parquet,
)

# --- bad rows


BAD = {
    "unknown dimension": (record(("A", "X")), "mask", "unknown ['X']"),
    "letters run together": (record() | {"mask": "EA"}, "mask", "unknown ['EA']"),
    "repeated dimension": (record(("A", "A")), "mask", "repeated ['A']"),
    "empty mask": (record(()), "mask", "an empty mask []"),
    "empty mask cell": (record() | {"mask": None}, "mask", "an empty mask None"),
    "mask of numbers": (record() | {"mask": [1]}, "mask", "[1] (list)"),
    "mask of a wrong type": (record() | {"mask": 3}, "mask", "3 (int)"),
    "mask that is no list": (record() | {"mask": "['A'"}, "mask", "\"['A'\" (str)"),
    "active reject empty": (record(A=" \n"), "reject_A", "an empty cell ' \\n'"),
    "inactive reject filled": (record(T="hm"), "reject_T", "'hm'"),
    "prompt empty": (record(prompt=" "), "prompt", "an empty cell ' '"),
    "golden invisible": (record(golden="\u200b\ufeff\xa0"), "golden", "an empty cell"),
    "active reject invisible": (record(A="\u200d"), "reject_A", "an empty cell '\\u200d'"),
    "golden empty": (record(golden=""), "golden", "an empty cell ''"),
    "reject equals golden": (record(A=" Not quite.\n"), "reject_A", "' Not quite.\\n'"),
    "wrong type": (record() | {"golden": 7}, "golden", "7 (int)"),
    "half a surrogate pair": (record(golden="x\ud83d"), "golden", "'\\ud83d' at character 1"),
    "missing column": ({"mask": ["A"], "prompt": "p", "reject_A": "r"}, "golden", "columns ["),
    "broken JSON": (b'{"mask": ["A"], "prom', "row", "Unterminated string"),
    "no object": (b"[1, 2]", "row", "[1, 2]"),
    "repeated key": (b'{"mask": "A", "mask": "T"}', "row", "key 'mask' occurs twice"),
    "blank line": (b"  ", "row", "a blank line"),
    "not UTF-8": (b'{"prompt": "caf\xe9"}', "row", "b'\\xe9\"}' at byte 15"),
}


@pytest.fixture
def bad_file(tmp_path):
    """A good row, then each bad one followed by a good one: bad rows have even lines."""
    lines = [record()]
    for bad, _, _ in BAD.values():
        lines += [bad, record()]
    return write_jsonl(tmp_path / "bad.jsonl", lines)


def test_every_bad_row_is_reported_at_once(bad_file):
    problems = problems_of(bad_file)
    assert [p.row for p in problems] == [2 * n for n in range(1, len(BAD) + 1)]
    for problem, (_, field, found) in zip(problems, BAD.values(), strict=True):
        assert problem.file == str(bad_file)
        assert problem.field == field and found in problem.found, problem
        assert len(problem.found) < 200 and "\n" not in str(problem)


def test_all_problems_of_one_row(tmp_path):
    row = record(("A", "T"), prompt="", golden=3, A="", C="x")
    problems = problems_of(write_jsonl(tmp_path / "rows.jsonl", [row]))
    assert [p.field for p in problems] == ["golden", "prompt", "reject_A", "reject_C"]


def test_bad_csv_rows(tmp_path):
    good = b"\"['A']\",p,g,r\n"
    lines = [b"mask,prompt,golden,reject_A\n", good, b"A,p,g\n", good, b'A,"p"q,g,r\n', good]
    lines += [b"A,caf\xe9,g,r\n", b"\n", b"T,p,g,r\n", b'A,"p,g,r\n', good]
    (tmp_path / "rows.csv").write_bytes(b"".join(lines))
    problems = problems_of(tmp_path / "rows.csv")
    assert [(p.row, p.field) for p in problems] == [
        (2, "row"),
        (4, "row"),
        (6, "prompt"),
        (7, "row"),
        (8, "reject_A"),
        (8, "reject_T"),
        (9, "row"),
    ]
    assert "4 cells" in problems[0].expected and "UTF-8" in problems[2].expected


def test_bad_parquet_text(tmp_path):
    import pyarrow
    import pyarrow.parquet

    golden = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, pyarrow.array([b"fine", b"caf\xe9"], pyarrow.binary()).buffers()
    )
    columns = {"mask": ["A"] * 2, "prompt": ["p"] * 2, "golden": golden, "reject_A": ["r"] * 2}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
    (problem,) = problems_of(tmp_path / "rows.parquet")
    assert (problem.row, problem.field) == (2, "golden")


# --- skipping


def read_and_skip(path, rejected):
    with pytest.warns(UserWarning, match="bad and were skipped") as caught:
        rows = read_rows(path, on_bad_row="skip", rejected_path=rejected)
    assert len(caught) == 1 and str(rejected) in str(caught[0].message)
    return rows, [json.loads(line) for line in rejected.read_text().splitlines()]


def test_skip_sets_bad_rows_aside_whole(bad_file, tmp_path):
    rows, rejected = read_and_skip(bad_file, tmp_path / "new" / "rejected.jsonl")
    assert len(rows) == len(BAD) + 1
    original = bad_file.read_bytes().split(b"\n")
    for entry in rejected:
        raw = entry["raw"].encode()
        if entry.get("raw_encoding") == "base64":
            raw = base64.b64decode(raw)
        assert raw == original[entry["row"] - 1]
    assert [entry["row"] for entry in rejected] == [2 * n for n in range(1, len(BAD) + 1)]
    assert {entry["file"] for entry in rejected} == {str(bad_file)}
    assert rejected[0]["problems"][0]["field"] == "mask"
    assert sum("raw_encoding" in entry for entry in rejected) == 1


def test_corrected_rows_are_no_longer_among_those_set_aside(tmp_path):
    """The lines of other sources stay; a file that would be empty goes."""
    bad, other, aside = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "rejected.jsonl"))
    for path in (bad, other):
        read_and_skip(write_jsonl(path, [record(), b"{"]), aside)
    write_jsonl(bad, [record(), record()])
    assert len(read_rows(bad, on_bad_row="skip", rejected_path=aside)) == 2
    assert [json.loads(line)["file"] for line in aside.read_text().splitlines()] == [str(other)]
    write_jsonl(other, [record()])
    read_rows(other, on_bad_row="skip", rejected_path=aside)
    assert not aside.exists()
    aside.write_text("a text of someone's\n")
    with pytest.raises(ValueError, match="expected no file or one of rejected rows"):
        read_rows(other, on_bad_row="skip", rejected_path=aside)
    assert aside.read_text() == "a text of someone's\n"


def test_skip_keeps_csv_lines_and_parquet_objects(tmp_path):
    (tmp_path / "rows.csv").write_bytes(
        b'mask,prompt,golden,reject_A\nA,p,g,r\nA,"two\nlines caf\xe9",g,r\nA,"p,g,r\n'
    )
    _, rejected = read_and_skip(tmp_path / "rows.csv", tmp_path / "rejected.jsonl")
    assert base64.b64decode(rejected[0]["raw"]) == b'A,"two\nlines caf\xe9",g,r\n'
    assert rejected[1]["raw"].rstrip("\n") == 'A,"p,g,r'
    bad = record(A="")
    path = write_parquet(tmp_path / "rows.parquet", [record(), bad])
    _, rejected = read_and_skip(path, tmp_path / "rejected.jsonl")
    # the lines of the first source are still there
    assert [entry["row"] for entry in rejected] == [2, 3, 2] and rejected[2]["raw"] == bad
    assert read_and_skip(path, tmp_path / "rejected.jsonl")[1] == rejected  # not doubled


def test_skip_does_not_overwrite_another_file(bad_file):
    before = bad_file.read_bytes()
    with pytest.raises(ValueError, match="left as it is"):
        read_rows(bad_file, on_bad_row="skip", rejected_path=bad_file)
    other = bad_file.with_name("other.jsonl")
    other.write_text('{"some": "notes"}\n')
    with pytest.raises(ValueError, match="left as it is"):
        read_rows(bad_file, on_bad_row="skip", rejected_path=other)
    assert bad_file.read_bytes() == before and other.read_text() == '{"some": "notes"}\n'


def test_skip_with_only_bad_rows_is_an_error(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [record(()), record(())])
    assert len(problems_of(path, on_bad_row="skip", rejected_path=tmp_path / "r.jsonl")) == 2


def test_good_rows_pass_without_warning_or_rejected_file(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", RECORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_rows(path, on_bad_row="skip", rejected_path=tmp_path / "rejected.jsonl")
    assert not (tmp_path / "rejected.jsonl").exists()


@pytest.mark.parametrize(
    "options, field",
    [
        ({"on_bad_row": "ignore"}, "on_bad_row"),
        ({"on_bad_row": "skip"}, "rejected_path"),
        ({"rejected_path": "x"}, "rejected_path"),
    ],
)
def test_contradictory_options(options, field):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        read_rows("rows.jsonl", **options)
