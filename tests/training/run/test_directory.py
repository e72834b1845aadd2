"""The log of a run, as it is found at a resume."""

import json

import pytest

from dignified_jax.training.run import directory
from tests.oracles import tiny_run


@pytest.fixture
def log(tmp_path):
    lines = [json.dumps({"step": step, "loss": 0.5}) for step in range(1, 7)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "metrics.jsonl"


def steps(log):
    return [json.loads(line)["step"] for line in log.read_text().splitlines()]


def test_lines_after_the_checkpoint_go_without_a_note(log):
    assert directory.trim_metrics(log.parent, 4) == []
    assert steps(log) == [1, 2, 3, 4]


@pytest.mark.parametrize("line", ['{"step": 3, "lo', "[3]", '{"loss": 1.0}', '{"step": "3"}', ""])
def test_a_damaged_line_is_set_aside(line, log):
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    first, second = directory.trim_metrics(log.parent, 6)
    assert first == f"{log}: 1 damaged (line 3), set aside in metrics.damaged.jsonl"
    assert second == f"{log}: 1 of the 6 steps before are not in it, and stay out"
    assert steps(log) == [1, 2, 4, 5, 6]
    aside = (log.parent / "metrics.damaged.jsonl").read_text()
    assert json.loads(aside) == {"line": 3, "text": line}
    assert directory.trim_metrics(log.parent, 6) == [second]


def test_a_log_cut_off_is_told(log):
    log.write_text("\n".join(log.read_text().splitlines()[:2]) + "\n")
    (note,) = directory.trim_metrics(log.parent, 6)
    assert "4 of the 6 steps before are not in it" in note
    log.unlink()
    (note,) = directory.trim_metrics(log.parent, 6)
    assert "6 of the 6 steps" in note


def test_a_start_removes_what_a_killed_one_left(tmp_path):
    left = tmp_path / f"summary.json.{2**40}.partial"
    left.write_text("{")
    with directory.opened(tiny_run.config(tmp_path, tmp_path)):
        assert not left.exists()
