"""Whole runs on pairs, conversations and a mixture of sources."""

import json

import pytest

from dignified_jax.training import loop
from tests.oracles import tiny_run
from tests.training.test_loop import (
    Interruption,
    assert_same_run,
    interrupt_progress,
    interrupted,
)

pytestmark = pytest.mark.wiring

DEVICES = 2
BEFORE = [
    {"role": "system", "content": "Look at it."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Look and load it."},
]


def prompt(row, turns):
    return [*turns, {"role": "user", "content": row["prompt"]}]


def pairs(rows, turns=()):
    """The pairs of rows, with implicit prompts."""
    return [
        {
            name: [*prompt(row, turns), {"role": "assistant", "content": text}]
            for name, text in (("chosen", row["golden"]), ("rejected", row[f"reject_{dimension}"]))
        }
        | {"dimension": dimension}
        for row in rows
        for dimension in row["mask"]
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The model and rows of the other runs; the rows also as pairs, some as conversations."""
    root = tmp_path_factory.mktemp("sources")
    tiny_run.write(root)
    rows = tiny_run.records()
    tiny_run.write_rows(root / "short.jsonl", pairs(rows[:4]))
    tiny_run.write_rows(root / "long.jsonl", pairs(rows[4 : tiny_run.TRAIN_ROWS], BEFORE))
    tiny_run.write_rows(root / "test_pairs.jsonl", pairs(rows[tiny_run.TRAIN_ROWS :]))
    return root


def test_a_mixture_of_conversations_resumes_bit_for_bit(root, tmp_path, capsys):
    changes = {
        "data__train": (str(root / "short.jsonl"), str(root / "long.jsonl")),
        "data__test": str(root / "test_pairs.jsonl"),
        "data__format": "pairs",
        "data__weights": (3.0, 1.0),
        "data__row_length": 256,
    }
    settings = [tiny_run.config(root, tmp_path / name, **changes) for name in "ab"]
    loop.run(settings[0])
    with pytest.MonkeyPatch.context() as patch:
        interrupt_progress(patch, 4)  # in the second epoch
        interrupted(settings[1], Interruption)
    assert "an epoch draws 7 of" in capsys.readouterr().out
    loop.run(settings[1])
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_the_same_rows_in_any_form_make_the_same_run(root, tmp_path):
    rows = tiny_run.records()
    turns = [{**row, "prompt": prompt(row, ())} for row in rows]
    forms = {
        "rows": (rows, "rejects"),
        "turns": (turns, "rejects"),
        "pairs": (pairs(rows), "pairs"),
    }
    for name, (records, form) in forms.items():
        tiny_run.write_rows(tmp_path / "train.jsonl", records)
        files = {f"data__{split}": str(tmp_path / "train.jsonl") for split in ("train", "test")}
        loop.run(tiny_run.config(root, tmp_path / name, data__format=form, **files))
        assert_same_run(tmp_path / name, tmp_path / "rows")
        found = [json.loads((tmp_path / n / "inputs.json").read_text()) for n in ("rows", name)]
        assert found[0] == found[1]
