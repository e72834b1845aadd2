"""Output that nobody reads stops nothing: at a pipe that has closed, in letters it lacks."""

import io
import pathlib
import re

import pytest

import dignified_jax
from dignified_jax.console.safe_stream import SafeStream
from dignified_jax.data.__main__ import main

pytestmark = pytest.mark.wiring
ROOT = pathlib.Path(dignified_jax.__file__).parent


class Closed(io.StringIO):
    """A pipe whose reader has gone; with no descriptor that could be pointed elsewhere."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_command_whose_reader_has_gone_ends_as_if_it_had_not(monkeypatch):
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}", Closed())
    assert main(["stats", "embedded:personaknob_mini/test.jsonl"]) == 0
    assert main(["stats", "nothing.jsonl"]) == 1


def test_letters_that_a_stream_lacks_are_escaped():
    raw = io.BytesIO()
    stream = SafeStream(io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    print("Zo\u00eb \u0639 \ud800", file=stream)
    assert raw.getvalue() == b"Zo\xeb \\u0639 \\ud800\n"


def test_nothing_is_printed_on_stderr_itself():
    """What comes after it, such as an exit status, would depend on who reads."""
    bare = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in sorted(ROOT.rglob("*.py"))
        for match in re.finditer(r"file=sys\.std(?:err|out)\b", file.read_text(encoding="utf-8"))
    ]
    assert bare == []
