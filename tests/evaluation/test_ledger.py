"""Ledgers survive kills in the midst of a line."""

import pytest

from dignified_jax.evaluation.ledger import Ledger


def test_records_stay(tmp_path):
    file = tmp_path / "sub" / "ledger.jsonl"
    ledger = Ledger(file, ("id", "of"))
    assert ledger.get("a", "b") is None
    ledger.add({"id": "a", "of": "b", "text": "\u2028\ud83d"})
    ledger.add({"id": "a", "of": "c", "text": "x"})
    again = Ledger(file, ("id", "of"))
    assert again.get("a", "b")["text"] == "\u2028\ud83d"
    assert again.get("a", "c")["text"] == "x"


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_short_is_gone_and_the_next_is_whole(tmp_path, cut):
    file = tmp_path / "ledger.jsonl"
    ledger = Ledger(file, ("id",))
    ledger.add({"id": "a", "text": "one"})
    ledger.add({"id": "b", "text": "two"})
    file.write_bytes(file.read_bytes()[:-cut])
    ledger = Ledger(file, ("id",))
    assert ledger.get("a")["text"] == "one"
    ledger.add({"id": "c", "text": "three"})
    again = Ledger(file, ("id",))
    assert again.get("c")["text"] == "three"
    assert (again.get("b") is None) == (cut > 1)


def test_damaged_lines_do_not_count(tmp_path):
    file = tmp_path / "ledger.jsonl"
    file.write_text('{"id": "a"}\nnonsense\n{"other": 1}\n{"id": "b"}\n')
    ledger = Ledger(file, ("id",))
    assert ledger.get("a") == {"id": "a"}
    assert ledger.get("b") == {"id": "b"}
