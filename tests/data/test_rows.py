"""Reading rows: every source and kind of file, columns, the split by prompt."""

import contextlib
import csv
import json
import random
import subprocess
import sys
import types
from pathlib import Path

import pytest

from dignified_jax.data import PreferenceRow, formats, read_rows, split_validation
from dignified_jax.data.rejected import BadRowPolicy
from dignified_jax.data.rows import stream_rows
from tests.data.row_files import (
    EXPECTED,
    RECORDS,
    ROOT,
    problems_of,
    record,
    write_csv,
    write_jsonl,
    write_parquet,
)

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
