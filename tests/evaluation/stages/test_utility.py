"""Benchmarks as a stage: each task on each model, once."""

import pytest

from dignified_jax.evaluation import config
from dignified_jax.evaluation.stages import utility

pytestmark = pytest.mark.wiring


@pytest.fixture
def ran(monkeypatch):
    """(model, task) of every benchmark that was run, in place of running it."""
    found = []

    def run(model, tasks, **options):
        found.append((model, *tasks, options["limit"], options["include"]))
        figures = {"acc,none": 0.5, "acc_stderr,none": 0.1}
        return {"results": dict.fromkeys(tasks, figures), "n-samples": {tasks[0]: {"effective": 4}}}

    monkeypatch.setattr(utility.benchmarks, "run", run)
    monkeypatch.setattr(utility.models, "load", lambda name, *rest, **_: name)
    monkeypatch.setattr(utility.models, "digest", lambda path, **_: path)
    return found


def make(tmp_path, **changes):
    fields = {"tasks": ("a", "b"), "include": str(tmp_path), "limit": 4}
    models = ("one=x", "two=y", "far=m@http://localhost/v1", "given=r.jsonl")
    values = {"workdir": str(tmp_path / "run"), "models": models}
    return config.parse(values | {"utility": fields | changes})


def test_each_task_of_each_model_once(ran, tmp_path):
    lines = []
    (table,) = utility.test(make(tmp_path), lines.append)
    assert ran == [(m, t, 4, str(tmp_path)) for m in ("one", "two") for t in "ab"]
    assert list(zip(*table.columns.values(), strict=True))[1][:5] == (
        "one",
        "b",
        "acc",
        "none",
        0.5,
    )
    assert (tmp_path / "run" / "utility" / "utility.csv").read_text() == table.csv()
    left = [line for line in lines if "left out of utility" in line]
    assert [line.partition(":")[0] for line in left] == ["far", "given"]

    ran.clear()
    assert utility.test(make(tmp_path), print)[0].csv() == table.csv()
    assert ran == []
    utility.test(make(tmp_path, tasks=("a", "b", "c")), print)
    assert ran == [(m, "c", 4, str(tmp_path)) for m in ("one", "two")]
    ran.clear()
    (tmp_path / "a.yaml").write_text("task: a")
    utility.test(make(tmp_path), print)
    assert len(ran) == 4  # what a task is may have changed
    ran.clear()
    utility.test(make(tmp_path, limit=3), print)
    assert len(ran) == 4


@pytest.mark.parametrize("name", ["utils.py", "data/a.json"])
def test_functions_and_data_of_a_task_are_part_of_it(name, ran, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    task = f"dataset_kwargs: {{data_files: {{test: {tmp_path}/data/a.json}}, field: examples}}\n"
    (tmp_path / "a.yaml").write_text(task)
    for text, times in (("1", 4), ("1", 0), ("2", 4)):
        file.write_text(text)
        ran.clear()
        utility.test(make(tmp_path), print)
        assert len(ran) == times


def test_nothing_wanted_is_nothing_done(ran, tmp_path):
    assert utility.test(make(tmp_path, tasks=()), print) == []
    assert ran == [] and not (tmp_path / "run").exists()


def test_what_is_missing_is_told_first(tmp_path):
    with pytest.raises(ValueError, match="none: expected a directory of task files, found none"):
        utility.check(make(tmp_path, include=str(tmp_path / "none")))
