"""Rows of the benchmark of the start are rows, and the same for a seed."""

import json

from benchmarks import data_start
from dignified_jax import data


def test_rows_are_read_and_depend_on_the_seed(tmp_path):
    file = tmp_path / "train.jsonl"
    data_start.write(file, 40, seed=3)
    rows = data.read_rows(file)
    assert len({row.prompt for row in rows}) == 40
    assert {len(row.rejects) for row in rows} == {1, 2, 3, 4}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines == list(data_start.rows(40, 3)) != list(data_start.rows(40, 4))


def test_batches_are_prepared_with_and_without_a_cache(tmp_path):
    data_start.write(tmp_path / "train.jsonl", 20, seed=0)
    data_start.write(tmp_path / "test.jsonl", 4, seed=1)
    cold, warm = (data_start.prepare(tmp_path, tmp_path / "tokens") for _ in range(2))
    assert cold.keys() == warm.keys() == {"seconds", "cpu", "private", "mapped"}
    assert 1e7 < cold["private"] <= cold["mapped"] < 1e11
    assert len(list((tmp_path / "tokens").rglob("entry.json"))) == 2
