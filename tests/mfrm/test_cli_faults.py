"""`python -m dignified_jax.mfrm` on files and terminals as they come."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from dignified_jax.mfrm import __main__ as command
from tests.mfrm.test_cli import SAMPLE, read, refused, write
from tests.oracles import command as training

pytestmark = pytest.mark.wiring


def test_a_reader_that_goes_away_is_no_failure(tmp_path):
    """`| head -1`: files are complete and the status is 0."""
    command_line = [sys.executable, "-m", "dignified_jax.mfrm", SAMPLE, "--no-plots", "--out", "o"]
    run = subprocess.Popen(
        command_line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, **training.WIRING},
    )
    run.stdout.close()
    error = run.stderr.read().decode()
    assert run.wait() == 0 and "Traceback" not in error and "Broken" not in error
    assert json.loads((tmp_path / "o" / "fit.json").read_text())["status"] == "converged"


def hostile(path):
    """Labels that no terminal, table or spreadsheet should obey."""
    labels = ("\x1b[31mred", "=1+1", "評価者\nzwei", "x" * 5000)
    rows = [
        (m, f"q{q}", f"j{j}", "r", (q + i + j) % 2)
        for i, m in enumerate(labels)
        for q in range(6)
        for j in range(2)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("model", "question", "judge", "rubric", "score"), *rows])
    return str(path)


def test_hostile_labels(tmp_path, monkeypatch):
    """On an 8-bit terminal, and in files."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    out = tmp_path / "out"
    assert command.main([hostile(tmp_path / "t.csv"), "--no-plots", "--out", str(out)]) == 0
    printed = raw.getvalue().decode("latin-1")
    assert "\x1b" not in printed and r"\u8a55" in printed
    assert max(map(len, printed.split("\n"))) < 300
    assert [row["model"] for row in read(out / "model.csv")][1] == "'=1+1"


def test_codes_for_missing_scores(tmp_path, capsys):
    scores = (5, 1, 4, 2, 3, 99, -1, 2)
    rows = [
        (m, f"q{q}", "j", "r", scores[(q * 3 + i) % 8])
        for q in range(8)
        for i, m in enumerate("ab")
    ]
    file = write(tmp_path / "t.csv", [("model", "question", "judge", "rubric", "score"), *rows])
    options = [file, "--threshold", "3", "--no-plots", "--method", "ridge"]
    assert command.main(options) == 0
    assert "note: score -1 (2 rows), 99 (2 rows) may stand for a missing" in capsys.readouterr().out
    assert "score must be from 1 to 5" in refused([*options, "--range", "1", "5"], capsys)
    assert command.main([*options, "--missing", "-1", "99", "--allow-disconnected"]) == 0
    printed = capsys.readouterr().out
    assert "note: 4 of 16 rows left out, score missing: " in printed and "12 ratings" in printed


def test_many_subsets_are_cut(tmp_path, capsys):
    """A judge for each of 60 models: each stands alone."""
    rows = [(f"m{m}", f"q{q}", f"j{m}", "r", (q + m) % 2) for m in range(60) for q in range(4)]
    file = write(tmp_path / "t.csv", [("model", "question", "judge", "rubric", "score"), *rows])
    error = refused([file], capsys)
    assert "... (60 subsets)" in error and max(map(len, error.split("\n"))) < 200


def test_one_judge_has_no_separation_and_no_bias(tmp_path, capsys):
    rows = [(f"m{m}", f"q{q}", "j", "r", (q // 2 + m * q) % 2) for m in range(3) for q in range(9)]
    file = write(tmp_path / "t.csv", [("model", "question", "judge", "rubric", "score"), *rows])
    assert command.main([file, "--method", "ridge"]) == 0
    printed = capsys.readouterr().out
    assert "bias of" not in printed
    assert "-1" not in printed.split("facets: p is")[1].split("residuals:")[0]
