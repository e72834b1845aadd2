"""The benchmark of one GPU, in small: what it finds on a CPU, and that nothing stops it."""

import json

import numpy as np
import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import problem
from benchmarks.gpu.result import Result, emit, markdown, read
from benchmarks.gpu.sizes import SIZES, Training


def test_a_result_is_read_from_a_line_as_it_was_printed(capsys):
    result = Result("part", "name", 1.5, "s", False, "a | b")

    emit(result)
    assert read(capsys.readouterr().out) == result
    assert read("RESULTS of something else") is None
    assert "| name | 1.5 | s | FAILED | a \\| b |" in markdown(["head"], [result])


def script(tmp_path, monkeypatch, text):
    (tmp_path / "a_part.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return gpu.Part("a", ("a_part",), 60)


def test_a_part_that_fails_keeps_what_it_found(tmp_path, monkeypatch):
    line = 'RESULT {"part": "p", "name": "n", "value": 2.0}'
    part = script(tmp_path, monkeypatch, f"print('{line}')\nraise MemoryError('no more')")
    found, printed = gpu.run(part, 60)
    assert found[0] == Result("p", "n", 2.0)
    assert found[1].passed is False and "exit status 1; MemoryError: no more" in found[1].note
    assert "Traceback" in printed


def test_a_part_that_hangs_is_stopped(tmp_path, monkeypatch):
    part = script(tmp_path, monkeypatch, "import time; time.sleep(60)")
    found, _ = gpu.run(part, 0.5)
    assert found[0].passed is False and "stopped after" in found[0].note


def test_parts_without_time_and_without_trl_are_said_to_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "head", lambda: ["a device"])
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert gpu.main(["--size", "tiny", "--minutes", "0", "--out", str(tmp_path / "o" / "x")]) == 0
    results = json.loads((tmp_path / "o" / "x.json").read_text())["results"]
    assert [result["name"] for result in results] == [part.name for part in gpu.parts("tiny")]
    assert {result["note"] for result in results} == {
        *("skipped: no time left", "skipped: TRL is not installed")
    }
    assert "# One GPU" in (tmp_path / "o" / "x.md").read_text()
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "nothing"])


def test_a_batch_fills_the_rows_it_is_given():
    for rows, at_once in ((2, 1), (4, 2)):
        batch = problem.make_batch(Training("tiny", None, rows, 1024, at_once))
        used = batch.segments[..., 3].sum(axis=1)
        assert batch.tokens.shape == (rows, 1024) and np.all(used > 600)


@pytest.mark.slow
def test_all_parts_run_in_small(tmp_path):
    out = tmp_path / "tiny"
    assert gpu.main(["--size", "tiny", "--minutes", "30", "--out", str(out)]) == 0
    results = [
        Result(**found) for found in json.loads((tmp_path / "tiny.json").read_text())["results"]
    ]
    values = {(result.part, result.name): result for result in results}
    assert values["attention", "blocks, float32"].value < 1e-5
    assert values["train step, small model", "the same bits twice"].value == 1.0
    title = f"train step, tiny, whole model, {SIZES['tiny'].trainings[0].rows} rows of 1,024"
    assert values[title, "examples"].value > 0 and values[title, "memory, planner"].value > 0
    assert [result.name for result in results if result.part == "parts"] == [
        part.name for part in gpu.parts("tiny")
    ]
