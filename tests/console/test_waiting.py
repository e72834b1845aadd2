"""The waiting line: silent when short, elapsed seconds and parts when long, errors pass."""

import time

import pytest

from dignified_jax.console import waiting


def test_short_work_is_silent(capsys):
    with waiting.waiting("work"):
        pass
    assert capsys.readouterr().err == ""


def test_long_work_is_told_with_its_parts(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "LOG_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "LOG_SECONDS", 0.05)
    with waiting.waiting("bootstrap") as count:
        count(3, 9)
        deadline = time.monotonic() + 10
        while not (lines := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines.startswith("bootstrap 3 of 9: 0 s, 0 s left\n")


def test_errors_pass_and_end_the_line(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "LOG_QUIET_SECONDS", 0.01)
    with pytest.raises(ValueError, match="inside"), waiting.waiting("work"):
        raise ValueError("inside")
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("parts", "seconds", "bar", "line"),
    [
        (None, 3.4, True, "work: 3 s"),
        ((0, 9), 3.4, False, "work 0 of 9: 3 s"),
        ((3, 9), 60.0, False, "work 3 of 9: 1 min 0 s, 2 min 0 s left"),
        ((9, 9), 7200.0, False, "work 9 of 9: 2 h 0 min"),
        ((1, 2), 8.0, True, "work [============            ] 1 of 2: 8 s, 8 s left"),
        ((0, 0), 1.0, False, "work 0 of 0: 1 s"),
    ],
)
def test_the_line(parts, seconds, bar, line):
    assert waiting.describe("work", parts, seconds, bar) == line


def test_a_share_is_told_in_percent():
    told = waiting.describe("reading", (299, 1000), 30.0, False, share=True)
    assert told == "reading 29%: 30 s, 1 min 10 s left"
    told = waiting.describe("reading", (1000, 1000), 30.0, True, share=True)
    assert told == f"reading [{'=' * 24}] 100%: 30 s"


@pytest.mark.parametrize(
    "width, line",
    [
        (90, f"reading /data/preferences/train.jsonl [{'=' * 12}{' ' * 12}] 50%: 8 s, 8 s left"),
        (69, "reading /data/preferences/train.jsonl [=====     ] 50%: 8 s, 8 s left"),
        (64, "reading /data/preferences/train.jsonl 50%: 8 s, 8 s left"),
        (40, "reading /...ain.jsonl 50%: 8 s, 8 s left"),
        (12, "r...l 50%: 8"),
    ],
)
def test_a_narrow_terminal_loses_the_bar_and_the_middle_of_a_name(width, line):
    what = "reading /data/preferences/train.jsonl"
    assert waiting.describe(what, (1, 2), 8.0, True, True, width) == line
    assert len(waiting.describe(what * 9, None, 8.0, True, True, width)) <= width


def test_what_nobody_counts_is_looked_at(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "LOG_QUIET_SECONDS", 0.02)
    with waiting.waiting("restoring", share=True, look=lambda: (1, 2)):
        deadline = time.monotonic() + 10
        while not (lines := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines.startswith("restoring 50%: 0 s, 0 s left\n")


def test_items_are_counted_as_they_pass():
    counted = []
    items = waiting.counting(range(150), lambda *parts: counted.append(parts), 300, 150)
    assert list(items) == list(range(150)) and counted == [(192, 300), (256, 300), (300, 300)]


def test_one_inside_another_takes_its_place(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "LOG_QUIET_SECONDS", 0.02)
    monkeypatch.setattr(waiting, "LOG_SECONDS", 0.02)
    lines = ""
    deadline = time.monotonic() + 10
    with waiting.waiting("outer"):
        with waiting.waiting("inner"):
            while lines.count("inner") < 2 and time.monotonic() < deadline:
                lines += capsys.readouterr().err
        while "outer" not in lines and time.monotonic() < deadline:
            lines += capsys.readouterr().err
    told = [line.partition(":")[0] for line in lines.splitlines()]
    assert told == sorted(told) and {*told} == {"inner", "outer"}


def test_silence():
    with waiting.silent("work", share=True) as count:
        count(1, 2)


def test_a_process_that_shows_nothing(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "LOG_QUIET_SECONDS", 0.01)
    with waiting.waiting("work", visible=False) as count:
        count(1, 2)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
