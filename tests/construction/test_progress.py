"""The line of calls in terminals of any width."""

import io

import pytest

from dignified_jax.construction import progress


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_line_is_one_line_in_any_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    with progress.CallProgress("scenario", 32, lambda spent: (1_234_567, 12.34)) as line:
        for _ in range(16):
            line.heard("model", 10, 10)
    drawn = [each.rstrip("\n") for each in stream.getvalue().split("\r")[1:]]
    assert drawn and all(len(each) < columns for each in drawn)
    counted = " 16 of 32 calls: 0 s; 1,234,567 tokens, cost 12.34 in all"
    bar = {40: "", 80: f" [{'=' * 6}{' ' * 5}]", 120: f" [{'=' * 12}{' ' * 12}]"}[columns]
    assert drawn[-1] == f"scenario{bar}{counted}"[: columns - 1]
