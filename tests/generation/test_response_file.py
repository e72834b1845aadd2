"""Files of responses: gone on with, refused, and never with a lost or doubled line."""

import datetime
import json

import pytest

from dignified_jax.data import Message
from dignified_jax.files.lock import BusyError
from dignified_jax.generation.response_file import ResponseFileError, opened, recorded_date

PROMPTS = {"1": "one?", "2": (Message("system", "s"), Message("user", "two?")), "3": "three?"}
SETTINGS = {"temperature": 0.5, "stop": ("a",), "path": "here"}


def fill(path, prompts=None, settings=None, most=9):
    """Answers up to so many of those that wait; their ids."""
    with opened(path, prompts or PROMPTS, settings or SETTINGS) as file:
        asked = list(file.waiting)[:most]
        for name in asked:
            file.add(name, f"re: {name}", finish_reason="stop")
        return asked


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_what_it_is(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    assert fill(path) == ["1", "2", "3"]
    first, second, _ = lines(path)
    assert first["prompt"] == "one?" and first["response"] == "re: 1"
    assert second["prompt"][1] == {"role": "user", "content": "two?"}
    assert second["settings"] == SETTINGS | {"stop": ["a"]} and len(second["prompt_hash"]) == 16
    assert [each.name for each in path.parent.iterdir()] == ["out.jsonl"]


def test_what_is_there_is_not_asked_again(tmp_path):
    path = tmp_path / "out.jsonl"
    assert fill(path, most=1) == ["1"]
    assert fill(path, settings=SETTINGS | {"path": "moved"}) == ["2", "3"]
    assert fill(path) == []


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_a_line_that_was_cut_off_is_asked_again(tmp_path, cut):
    """At its first byte, in its midst, before its end."""
    path = tmp_path / "out.jsonl"
    fill(path)
    whole = path.read_text()
    start = whole.rindex("\n", 0, -1) + 1
    path.write_text(whole[: start + cut] if cut > 0 else whole[:-2])
    assert fill(path) == ["3"]
    assert path.read_text() == whole


def test_a_changed_prompt_is_asked_again(tmp_path):
    path = tmp_path / "out.jsonl"
    fill(path)
    changed = PROMPTS | {"2": "another two?"}
    with opened(path, changed, SETTINGS) as file:
        assert list(file.waiting) == ["2"] and "1 prompts have changed" in file.notes[0]
        file.add("2", "new")
    assert [line["response"] for line in lines(path)] == ["re: 1", "re: 3", "new"]


def test_lines_stand_in_the_order_of_the_prompts_in_the_end(tmp_path):
    path = tmp_path / "out.jsonl"
    fill(path, {"other": "?"})
    with opened(path, PROMPTS, SETTINGS) as file:
        assert "1 responses to other prompts stay" in file.notes[0]
        for name in ("3", "1", "2"):
            file.add(name, "x")
        file.sort()
    assert [line["id"] for line in lines(path)] == ["other", "1", "2", "3"]


def test_other_settings_are_refused_by_name(tmp_path):
    path = tmp_path / "out.jsonl"
    fill(path)
    before = path.read_text()
    with pytest.raises(ResponseFileError, match=r"id 1 .*temperature: 0\.5 there, 0\.7 now"):
        fill(path, settings=SETTINGS | {"temperature": 0.7})
    assert path.read_text() == before


def test_settings_that_older_lines_do_not_name_are_no_others(tmp_path):
    path = tmp_path / "out.jsonl"
    now = SETTINGS | {"stop_tokens": [2], "tokenizer": "a1", "template_date": "2026-03-01"}
    assert recorded_date(path) is None
    fill(path, most=1)
    assert recorded_date(path) is None
    assert fill(path, settings=now, most=1) == ["2"]
    assert recorded_date(path) == datetime.date(2026, 3, 1)
    for name, value, said in (
        ("stop_tokens", [2, 3], r"stop_tokens: \[2\] there, \[2, 3\] now"),
        ("tokenizer", "b2", "tokenizer: a1 there, b2 now"),
        ("template_date", "2026-03-02", "template_date: 2026-03-01 there, 2026-03-02 now"),
    ):
        with pytest.raises(ResponseFileError, match=f"id 2 .*{said}"):
            fill(path, settings=now | {name: value})
    assert fill(path, settings=now) == ["3"]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"id": "9"}', '{"id": "1", "response": 3}'])
def test_lines_of_others_are_told_and_kept(tmp_path, line):
    path = tmp_path / "out.jsonl"
    fill(path)
    path.write_text(f"{line}\n{path.read_text()}")
    before = path.read_text()
    with pytest.raises(ResponseFileError, match=r"out\.jsonl:1: "):
        fill(path)
    assert path.read_text() == before


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "out.jsonl"
    with opened(path, PROMPTS, SETTINGS), pytest.raises(BusyError, match="another process"):
        fill(path)
    assert fill(path) == ["1", "2", "3"]
