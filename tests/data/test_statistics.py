"""Data set figures against hand-computed ones, and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dignified_jax.data import PreferenceRow, read_rows
from dignified_jax.data.__main__ import main
from dignified_jax.data.statistics import LengthBaseline, LengthSummary, summarise, token_counter

ROOT = Path(__file__).parents[2]
ROWS = [
    PreferenceRow("one two three", "a b c d", {"A": "a b", "T": "d c b a"}),
    PreferenceRow("one", "a b", {"A": "a b c"}),
    PreferenceRow("one two", "a b c", {"A": "a", "T": "a", "E": "a b c d", "C": "a b c d e"}),
    PreferenceRow("one two three four", "a", {"A": "b"}),
]


def test_figures_by_hand():
    figures = summarise(ROWS)
    assert figures.samples == 4 and figures.unit == "words"
    assert figures.cardinality == {1: 50.0, 2: 25.0, 3: 0.0, 4: 25.0}
    assert figures.rows == {"A": 4, "T": 2, "E": 1, "C": 1}
    assert figures.lengths["prompt"] == LengthSummary(2.5, 2.5, pytest.approx(3.85), 4)
    assert figures.lengths["reject_A"] == LengthSummary(1.75, 1.5, pytest.approx(2.85), 3)
    assert figures.lengths["reject_C"] == LengthSummary(5, 5, 5, 5)
    assert figures.longer_is_golden == {
        "A": LengthBaseline((1 + 0 + 1 + 0.5) / 4, 4),
        "T": LengthBaseline((0.5 + 1) / 2, 2),
        "E": LengthBaseline(0.0, 1),
        "C": LengthBaseline(0.0, 1),
    }


def test_absent_dimension_and_no_rows():
    figures = summarise(ROWS[:1])
    assert figures.rows == {"A": 1, "T": 1, "E": 0, "C": 0}
    assert set(figures.longer_is_golden) == {"A", "T"} and "reject_E" not in figures.lengths
    with pytest.raises(ValueError, match="at least one, found none"):
        summarise([])


def test_lengths_in_tokens(tokenizer):
    figures = summarise(ROWS, token_counter(tokenizer), "tokens")
    expected = [len(tokenizer(row.prompt)["input_ids"]) for row in ROWS]
    assert figures.lengths["prompt"].max == max(expected)
    assert figures.lengths["prompt"].mean == sum(expected) / len(expected)


# --- command line


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    records = [
        {
            "mask": list(row.mask),
            "prompt": row.prompt,
            "golden": row.golden,
            **{f"reject_{dimension}": text for dimension, text in row.rejects.items()},
        }
        for row in ROWS
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_stats_as_text(file, capsys):
    other = file.with_name("other.jsonl")
    other.write_bytes(file.read_bytes())
    assert main(["stats", str(file), str(other)]) == 0
    out = capsys.readouterr().out
    assert str(file) in out and str(other) in out and "length in words" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["2", "active", "dimensions", "25.0", "%"] in lines
    assert ["prompt", "2.5", "2.5", "3.8", "4"] in lines
    assert ["A", "4", "0.625", "of", "4", "pairs"] in lines


def test_stats_as_json_in_tokens(file, tokenizer_dir, capsys):
    assert main(["stats", str(file), "--json", "--tokenizer", str(tokenizer_dir)]) == 0
    figures = json.loads(capsys.readouterr().out)[str(file)]
    assert figures["unit"] == f"tokens of {tokenizer_dir}"
    assert figures["samples"] == 4 and figures["cardinality"]["4"] == 25.0
    assert figures["longer_is_golden"]["E"] == {"accuracy": 0.0, "pairs": 1}


def test_stats_lists_the_bad_rows_of_every_file(file, tmp_path, capsys):
    bad = [tmp_path / "bad1.jsonl", tmp_path / "bad2.jsonl"]
    for path in bad:
        path.write_text('{"mask": "A"}\n[]\n')
    assert main(["stats", str(file), *map(str, bad)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    for path in bad:
        assert f"{path}:1: prompt: expected" in captured.err
        assert f"{path}:2: row: expected a JSON object, found []" in captured.err


def test_missing_file_and_bad_size_fail(file, tmp_path, capsys):
    assert main(["stats", "nowhere.jsonl"]) == 1
    assert "nowhere.jsonl: no such file" in capsys.readouterr().err
    command = ["tokenizer", str(file), "--vocab-size", "10", "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "vocab_size: expected at least 259, found 10" in capsys.readouterr().err
    command[3] = "9" * 30
    assert main(command) == 1
    assert "vocab_size: expected at most 16777216, found 999" in capsys.readouterr().err


def test_tokenizer_replaces_only_what_it_wrote(file, tmp_path, capsys):
    out = tmp_path / "model"
    out.mkdir()
    (out / "tokenizer.json").write_text("of somebody else")
    command = ["tokenizer", str(file), "--vocab-size", "300", "--out", str(out)]
    assert main(command) == 1 and "model: is not empty" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 1
    assert "tokenizer.json: was not written by" in capsys.readouterr().err
    assert (out / "tokenizer.json").read_text() == "of somebody else"
    command[-1] = str(tmp_path / "new")
    assert main(command) == 0 and main([*command, "--overwrite"]) == 0


def test_a_long_name_of_an_unused_column_does_not_fill_the_message(tmp_path):
    file = tmp_path / "long.jsonl"
    row = {"prompt": "p", "golden": "g", "mask": ["A"], "reject_A": "r", "k" * 10**6: 1}
    file.write_text(json.dumps(row))
    with pytest.warns(UserWarning, match="columns not used: .'kkk") as caught:
        read_rows(file)
    assert len(str(caught[0].message)) < 1000


def test_module_runs_and_helps():
    command = [sys.executable, "-m", "dignified_jax.data"]
    assert subprocess.run(command, capture_output=True, cwd=ROOT).returncode == 2
    for words in ([], ["stats"], ["tokenizer"]):
        command_line = [*command, *words, "--help"]
        done = subprocess.run(command_line, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0
        assert "example:\n  python -m dignified_jax.data" in done.stdout


def test_tokenizer_command_is_deterministic_and_loads(file, tmp_path):
    from transformers import AutoTokenizer

    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        command = ["-m", "dignified_jax.data", "tokenizer", str(file), "--vocab-size", "300"]
        command_line = [sys.executable, *command, "--out", str(out)]
        done = subprocess.run(command_line, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and str(out) in done.stdout, done.stderr
    names = sorted(path.name for path in outs[0].iterdir())
    assert "tokenizer.json" in names
    for name in names:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    config = json.loads((outs[0] / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    tokenizer = AutoTokenizer.from_pretrained(outs[0])
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    text = "one two \u00e9\u4e2d three"  # bytes never seen in training
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    turns = [{"role": "user", "content": "one"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n"


def test_stats_with_a_tokenizer_finds_rows_that_a_run_would_refuse(tmp_path, tokenizer, capsys):
    tokenizer.chat_template = (
        "{% if 'dog' in messages[-1].content %}{{ raise_exception('no dogs') }}{% endif %}"
        + tokenizer.chat_template
    )
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    row = {"prompt": "p?", "golden": "a dog", "mask": ["A"], "reject_A": "a"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert main(["stats", str(file), "--tokenizer", str(tmp_path / "tokenizer")]) == 1
    assert f"{file}:1: golden: expected" in capsys.readouterr().err
