"""The line of calls in terminals of any width."""

import io

import pytest

from dignified_jax.construction import asking, progress
from dignified_jax.construction.spending import Price
from dignified_jax.endpoints.calls import CallSettings
from dignified_jax.endpoints.logs import Answer


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


def test_answers_that_a_killed_run_had_heard_count_when_it_goes_on(monkeypatch, tmp_path):
    """Two of three are in the log of the run that was killed, of which nobody hears again."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)

    def ask(stage, calls, settings, log, heard):
        heard("m", 10, 5)
        return {"m": {name: Answer("yes", "", "", 10, 5) for name in calls["m"]}}

    monkeypatch.setattr(asking.endpoint_calls, "ask", ask)
    asker = asking.Asker(tmp_path, {"check": CallSettings()}, {"m": Price(1e6, 0.0)})
    assert len(asker.ask("check", [asking.Inquiry("m", "s", str(at)) for at in range(3)])) == 3
    assert "3 of 3 calls: 0 s; 45 tokens, cost 30.00 in all" in stream.getvalue().splitlines()[-1]
