"""Reading rows: every source, every kind of bad row, the skip policy, the split by prompt."""

import base64
import contextlib
import csv
import json
import random
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from dignified_jax.data import BadRowsError, PreferenceRow, formats, read_rows, split_validation
from dignified_jax.data.rejected import BadRowPolicy
from dignified_jax.data.rows import stream_rows

ROOT = Path(__file__).parents[2]
REJECTS = ("reject_A", "reject_C", "reject_E", "reject_T")
COLUMNS = ("mask", "seed_scene", "context", "trigger", "prompt", "golden", *REJECTS)


def record(mask=("A",), prompt="Am I right?", golden="Not quite.", **rejects):
    texts = {"seed_scene": "s", "context": "c", "trigger": "t", "prompt": prompt, "golden": golden}
    filled = {f"reject_{d}": rejects.get(d, f"bad {d}" if d in mask else "") for d in "ACET"}
    return {"mask": list(mask), **texts, **filled}


RECORDS = [
    record(("E", "A"), prompt='  Line one,\n"line two"\u2028 and \u00e9  '),
    record(("T",), golden="Ask, then check."),
    record(("C", "A", "T", "E")),
]
EXPECTED = [
    PreferenceRow(
        r["prompt"],
        r["golden"],
        {d: r[f"reject_{d}"] for d in "ATEC" if d in r["mask"]},
        seed_scene="s",
        context="c",
        trigger="t",
    )
    for r in RECORDS
]


def write_jsonl(path, records):
    lines = (r if isinstance(r, bytes) else json.dumps(r).encode() for r in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def write_csv(path, records, mask):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**r, "mask": mask(r["mask"])} for r in records)
    return path


def write_parquet(path, records):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


def problems_of(path, **options):
    with pytest.raises(BadRowsError) as caught:
        read_rows(path, **options)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value).splitlines()
    return caught.value.problems


# --- sources


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_json_lines(tmp_path, name):
    path = write_jsonl(tmp_path / name, RECORDS)
    assert read_rows(path) == read_rows(str(path)) == EXPECTED


def test_json_lines_with_byte_order_mark_and_trailing_blank_lines(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", RECORDS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\n \n")
    assert read_rows(path) == EXPECTED


def test_json_lines_keep_an_unescaped_line_separator(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(r, ensure_ascii=False) for r in RECORDS]
    assert "\u2028" in lines[0]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_rows(path) == EXPECTED


@pytest.mark.parametrize("mask", [str, json.dumps, ",".join, ", ".join])
def test_csv_with_each_form_of_mask(tmp_path, mask):
    assert read_rows(write_csv(tmp_path / "rows.csv", RECORDS, mask)) == EXPECTED


def test_csv_keeps_a_very_long_text(tmp_path):
    path = write_csv(tmp_path / "rows.csv", [record(golden="x" * 200_000)], str)
    limit = csv.field_size_limit()
    assert len(read_rows(path)[0].golden) == 200_000
    assert csv.field_size_limit() == limit


def test_parquet_with_list_and_text_masks(tmp_path):
    assert read_rows(write_parquet(tmp_path / "lists.parquet", RECORDS)) == EXPECTED
    texts = [{**r, "mask": str(r["mask"])} for r in RECORDS]
    assert read_rows(write_parquet(tmp_path / "texts.parquet", texts)) == EXPECTED


@pytest.mark.parametrize(
    "source, split, revision, config",
    [
        ("someone/rows", "train", None, ()),
        ("someone/rows:test", "test", None, ()),
        ("someone/rows@v1.2", "train", "v1.2", ()),
        ("someone/rows@refs/pr/3:test", "test", "refs/pr/3", ()),
        ("someone/rows:20220301.en:test", "test", None, ("20220301.en",)),
        ("someone/rows@v1:en-c++:train_prefs", "train_prefs", "v1", ("en-c++",)),
    ],
)
def test_hub_id(monkeypatch, source, split, revision, config):
    asked = []

    def load_dataset(name, *config, split, revision):
        asked.append((name, *config, split, revision))
        return iter(RECORDS)

    fake = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert read_rows(source) == EXPECTED
    assert asked == [("someone/rows", *config, split, revision)]


def test_hub_data_of_several_configurations_say_how_to_name_one(monkeypatch):
    def load_dataset(name, *, split, revision):
        raise ValueError("Config name is missing.\nPlease pick one among: ['en', 'de']")

    fake = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    said = r"among: \['en', 'de'\]; name one as someone/rows:CONFIGURATION:test$"
    with pytest.raises(ValueError, match=said):
        read_rows("someone/rows:test")


def test_hub_id_that_does_not_exist(monkeypatch):
    def load_dataset(name, *, split, revision):
        raise FileNotFoundError("not on the hub")

    fake = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    with pytest.raises(FileNotFoundError, match="someone/rows: no such file and no such data set"):
        read_rows("someone/rows")


def test_directory_of_a_data_set(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    directory = tmp_path / "saved"
    (directory / "data").mkdir(parents=True)
    write_parquet(directory / "data" / "train-00000-of-00001.parquet", RECORDS)
    write_parquet(directory / "data" / "test-00000-of-00001.parquet", RECORDS[:1])
    assert read_rows(directory) == EXPECTED
    assert read_rows(f"{directory}:test") == EXPECTED[:1]


@pytest.mark.parametrize(
    "source", ["no/such.jsonl", "nowhere.csv", "a/b/c", Path("someone/rows"), "a/b@", "a/b@x/"]
)
def test_missing_source_names_the_accepted_forms(source):
    with pytest.raises(FileNotFoundError) as caught:
        read_rows(source)
    assert str(source) in str(caught.value) and "owner/name@revision:" in str(caught.value)


def test_unknown_kind_of_file(tmp_path):
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(ValueError, match=r"rows\.txt: unknown kind of file '\.txt'"):
        read_rows(tmp_path / "rows.txt")
    (tmp_path / "rows.parquet").write_text("x")
    with pytest.raises(ValueError, match=r"rows\.parquet: not a readable parquet file"):
        read_rows(tmp_path / "rows.parquet")


# --- columns


def test_optional_columns_and_empty_cells(tmp_path):
    row = {"mask": ["A"], "prompt": "p", "golden": "g", "reject_A": "r"}
    empty = dict.fromkeys(("reject_T", "reject_E", "seed_scene"), None)
    path = write_jsonl(tmp_path / "rows.jsonl", [row, row | empty | {"context": float("nan")}])
    assert read_rows(path) == [PreferenceRow("p", "g", {"A": "r"})] * 2


def test_unknown_columns_are_reported_once(tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", [record() | {"score": 1, "note": ""}] * 3)
    with pytest.warns(UserWarning) as caught:
        assert len(read_rows(path)) == 3
    assert [str(w.message) for w in caught] == [f"{path}: columns not used: ['note', 'score']"]


def test_missing_column_of_a_table_is_one_problem(tmp_path):
    records = [{k: v for k, v in r.items() if k != "golden"} for r in RECORDS]
    (problem,) = problems_of(write_parquet(tmp_path / "rows.parquet", records))
    assert (problem.row, problem.field) == (0, "golden")
    (tmp_path / "rows.csv").write_text("prompt,prompt,mask\n")
    found = problems_of(tmp_path / "rows.csv")
    assert [problem.field for problem in found] == ["golden", "prompt"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (problem,) = problems_of(tmp_path / name)
    assert (problem.field, problem.expected) == ("file", "at least one row")


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


# --- rows and splitting


def test_mask_is_in_the_fixed_order_and_dimensions_are_known():
    assert PreferenceRow("p", "g", {"C": "c", "A": "a"}).mask == ("A", "C")
    with pytest.raises(ValueError, match=r"found \['X'\]"):
        PreferenceRow("p", "g", {"X": "x"})


def prompts(rows):
    return {row.prompt.strip() for row in rows}


def test_split_is_by_prompt_and_independent_of_order():
    rows = [
        PreferenceRow(f"{' ' * (n % 2)}prompt {n // 3}", f"g{n}", {"A": "a"}) for n in range(300)
    ]
    train, validation = split_validation(rows, 0.1, seed=3)
    assert len(prompts(validation)) == 10 and len(validation) == 30
    assert not prompts(train) & prompts(validation)
    position = {row.golden: n for n, row in enumerate(rows)}
    for part in (train, validation):
        assert part == sorted(part, key=lambda row: position[row.golden])
    assert len(train) + len(validation) == 300
    shuffled = random.Random(0).sample(rows, len(rows))
    assert prompts(split_validation(shuffled, 0.1, seed=3)[1]) == prompts(validation)
    assert prompts(split_validation(rows, 0.1, seed=4)[1]) != prompts(validation)


def test_split_limits():
    rows = [PreferenceRow(f"p{n}", "g", {"A": "a"}) for n in range(3)]
    assert split_validation(rows, 0, 0) == (rows, [])
    assert [len(part) for part in split_validation(rows, 1e-6, 0)] == [2, 1]
    assert [len(part) for part in split_validation(rows, 0.99, 0)] == [1, 2]
    for fraction in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="fraction: expected a number in"):
            split_validation(rows, fraction, 0)
    with pytest.raises(ValueError, match="at least 2 distinct prompts, found 1"):
        split_validation(rows[:1] * 4, 0.5, 0)


def test_import_is_cheap():
    heavy = ("transformers", "tokenizers", "datasets", "pyarrow", "flax")
    code = f"import sys, dignified_jax.data; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_is_waited_for_can_be_shown(tmp_path):
    shown = []

    @contextlib.contextmanager
    def show(what, *, share=False):
        assert share
        yield lambda done, total: shown.append((what, done, total))

    pairs = [{"prompt": f"{n}", "chosen": "a", "rejected": "b"} for n in range(70)]
    path = write_jsonl(tmp_path / "pairs.jsonl", pairs)
    form = formats.choose("pairs", ("T",))
    assert len(stream_rows(path, form, BadRowPolicy("error", None), show)) == 70
    size = path.stat().st_size
    joined = [(f"joining pairs of {path}", done, 140) for done in (64, 128, 140)]
    assert shown == [(f"reading {path}", size, size), *joined]
