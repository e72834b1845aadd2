"""The waiting line: silent when short, elapsed seconds and parts when long, errors pass."""

import time

import pytest

from dignified_jax.console import waiting


def test_short_work_is_silent(capsys):
    with waiting.waiting("work"):
        pass
    assert capsys.readouterr().err == ""


def test_long_work_is_told_with_its_parts(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "LOG_SECONDS", 0.05)
    with waiting.waiting("bootstrap") as count:
        count(3, 9)
        deadline = time.monotonic() + 10
        while not (lines := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lines.startswith("bootstrap 3 of 9: 0 s, 0 s left\n")


def test_errors_pass_and_end_the_line(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "QUIET_SECONDS", 0.01)
    with pytest.raises(ValueError, match="inside"), waiting.waiting("work"):
        raise ValueError("inside")
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""
